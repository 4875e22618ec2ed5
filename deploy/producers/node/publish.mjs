import { randomUUID } from "node:crypto";
import amqp from "amqplib";

const job = { transactionId: "order-7", account: "shop", operation: "createMessage", payload: {
  notifications: [{ send_date: "now", content: "Your order is on its way", devices: ["0f7c1c3a"] }] } };

const connection = await amqp.connect(process.env.AMQP_URL);
const channel = await connection.createConfirmChannel();
let returned = false;
channel.on("return", () => { returned = true; });
channel.publish("paceline.jobs", job.account, Buffer.from(JSON.stringify(job)), {
  mandatory: true, persistent: true, contentType: "application/json", messageId: randomUUID() });
await channel.waitForConfirms(); // throws where the broker did not take the job
await connection.close();
if (returned) throw new Error("no queue takes the job: is its account configured?");
