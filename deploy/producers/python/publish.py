import json, os, uuid
import pika

job = {"transactionId": "order-7", "account": "shop", "operation": "createMessage", "payload": {
    "notifications": [{"send_date": "now", "content": "Your order is on its way", "devices": ["0f7c1c3a"]}]}}

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()  # publishing waits for the broker, and raises where it did not take the job
channel.basic_publish(
    exchange="paceline.jobs", routing_key=job["account"], body=json.dumps(job), mandatory=True,
    properties=pika.BasicProperties(
        delivery_mode=2, content_type="application/json", message_id=str(uuid.uuid4())))
connection.close()
