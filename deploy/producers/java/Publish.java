import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.ConnectionFactory;
import java.nio.charset.StandardCharsets;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicBoolean;

public class Publish {
    static final String JOB = """
        {"transactionId": "order-7", "account": "shop", "operation": "createMessage", "payload": {
         "notifications": [{"send_date": "now", "content": "Your order is on its way", "devices": ["0f7c1c3a"]}]}}""";

    public static void main(String[] arguments) throws Exception {
        var factory = new ConnectionFactory();
        factory.setUri(System.getenv("AMQP_URL"));
        try (var connection = factory.newConnection(); var channel = connection.createChannel()) {
            var returned = new AtomicBoolean();
            channel.addReturnListener(message -> returned.set(true));
            channel.confirmSelect();
            var properties = new AMQP.BasicProperties.Builder().deliveryMode(2)
                .contentType("application/json").messageId(UUID.randomUUID().toString()).build();
            channel.basicPublish("paceline.jobs", "shop", true, properties, JOB.getBytes(StandardCharsets.UTF_8));
            channel.waitForConfirmsOrDie(20_000); // throws where the broker did not take the job
            if (returned.get()) throw new IllegalStateException("no queue takes it: is its account configured?");
        }
    }
}
