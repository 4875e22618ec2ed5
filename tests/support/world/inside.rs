//! Messages as paceline itself publishes them, past the exchange that producers use.

use paceline::ports::{Destination, Outgoing, Place, Properties};

use super::World;

impl World {
    /// Publishes straight into a queue; the caller says how many ends it will have.
    pub async fn publish_inside(&mut self, place: Place, body: &[u8], properties: Properties, ends: usize) {
        let outgoing =
            Outgoing { destination: Destination::Place(place), body: body.to_vec().into(), properties };
        self.producer.publish(outgoing).await.expect("the message is confirmed");
        self.expected += ends;
    }
}
