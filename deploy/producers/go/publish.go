package main

import (
	"context"
	"log"
	"os"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
)

const job = `{"transactionId": "order-7", "account": "shop", "operation": "createMessage", "payload": {
	"notifications": [{"send_date": "now", "content": "Your order is on its way", "devices": ["0f7c1c3a"]}]}}`

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	connection := must(amqp.Dial(os.Getenv("AMQP_URL")))
	defer connection.Close()
	channel := must(connection.Channel())
	must(0, channel.Confirm(false))
	returned := channel.NotifyReturn(make(chan amqp.Return, 1))
	confirm := must(channel.PublishWithDeferredConfirmWithContext(context.Background(),
		"paceline.jobs", "shop", true, false, amqp.Publishing{ // true: mandatory
			DeliveryMode: amqp.Persistent, ContentType: "application/json",
			MessageId: uuid.NewString(), Body: []byte(job)}))
	if !confirm.Wait() || len(returned) > 0 {
		log.Fatal("the broker did not take the job: is its account configured?")
	}
}
