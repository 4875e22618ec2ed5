//! What a world's workers are configured with.

use super::{Options, World};

/// Short times, so that a test of them is short too.
const SHORT_TIMES: &str = r#"
[worker]
request_timeout = "3s"
connect_timeout = "1s"
lease = "11s"
drain = "15s"

[limiter]
horizon = "1s"
"#;

/// The text of a world's configuration file. The addresses are those of broker, store and provider.
pub fn of(options: &Options, prefix: &str, [broker, redis, provider]: &[String; 3]) -> String {
    let broker: Vec<String> = broker.split(',').map(|url| format!("{url}{}", options.broker_query)).collect();
    let broker = broker.join(",");
    format!(
        r#"
[queue]
url = "{broker}"
prefix = "{prefix}"
reconnect_max = "1s"

[store]
url = "{redis}"
timeout = "1s"
{times}
{more}

[accounts.shop]
provider = "pushwoosh"
base_url = "{provider}"
api_token = {{ env = "PUSHWOOSH_TOKEN" }}
application = "XXXXX-XXXXX"
{shop}

[accounts.news]
provider = "moengage"
base_url = "{provider}"
workspace_id = "DEMO01_DEBUG"
push_api_key = {{ env = "MOENGAGE_PUSH_KEY" }}
campaign_api_key = {{ env = "MOENGAGE_CAMPAIGN_KEY" }}
{news}
"#,
        times = if options.short_times { SHORT_TIMES } else { "" },
        more = options.more.replace("{provider}", provider),
        shop = options.shop,
        news = options.news,
    )
}

impl World {
    /// Sets the variables of the workers' environment for those that are started from now on.
    pub fn set_environment(&mut self, variables: Vec<(&'static str, &'static str)>) {
        self.env = variables.leak();
    }
}
