use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};

const JOB: &str = r#"{"transactionId": "order-7", "account": "shop", "operation": "createMessage", "payload": {
    "notifications": [{"send_date": "now", "content": "Your order is on its way", "devices": ["0f7c1c3a"]}]}}"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("AMQP_URL")?;
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/json".into())
        .with_message_id(uuid::Uuid::new_v4().to_string().into());
    let confirm = channel
        .basic_publish("paceline.jobs".into(), "shop".into(), mandatory, JOB.as_bytes(), properties)
        .await?
        .await?;
    match confirm {
        Confirmation::Ack(None) => Ok(connection.close(200, "done".into()).await?),
        other => Err(format!("the broker did not take the job: {other:?}").into()),
    }
}
