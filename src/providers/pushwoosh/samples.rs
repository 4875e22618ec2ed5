//! Sample jobs for an account named `shop`, one of each kind of targeting.

/// All of them, each a valid job.
pub(super) static ALL: [&str; 10] = [
    // One device, at once: exempt from the limit.
    r#"{"transactionId": "otp-20260101-0001", "account": "shop", "operation": "createMessage",
        "priority": "high", "expiresAt": "2099-01-01T00:05:00Z",
        "payload": {"notifications": [{"send_date": "now", "content": "Your code is 123456",
            "devices": ["dec301908b9ba8df85e57a58e40f96f523f4c2068674f5fe2ba25cdc250a2a41"]}]}}"#,
    // Several devices.
    r#"{"transactionId": "login-alert-17", "account": "shop", "operation": "createMessage",
        "payload": {"notifications": [{"send_date": "now", "ignore_user_timezone": true,
            "content": {"en": "New sign-in", "de": "Neue Anmeldung"}, "title": {"en": "Security"},
            "devices": ["hwid-phone-1", "hwid-tablet-1"], "ios_interruption_level": "time-sensitive"}]}}"#,
    // Users.
    r#"{"transactionId": "order-4711-shipped", "account": "shop", "operation": "createMessage",
        "meta": {"order": 4711},
        "payload": {"notifications": [{"send_date": "now", "content": "Your order is on its way",
            "users": ["user_3078a"], "link": "https://shop.example/orders/4711", "minimize_link": 0,
            "data": {"order": "4711"}}]}}"#,
    // Several notifications: three deliveries of one job.
    r#"{"transactionId": "invoices-2026-01", "account": "shop", "operation": "createMessage",
        "priority": "low",
        "payload": {"notifications": [
            {"send_date": "now", "content": "Your invoice is ready", "users": ["user_1"]},
            {"send_date": "now", "content": "Your invoice is ready", "users": ["user_2"],
             "transactionId": "invoice-2026-01-user-2"},
            {"send_date": "now", "content": "Your invoice is ready", "devices": ["hwid-phone-3"]}]}}"#,
    // A filter, at a given time.
    r#"{"transactionId": "spring-sale", "account": "shop", "operation": "createMessage",
        "priority": "low",
        "payload": {"application": "XXXXX-XXXXX", "notifications": [{"send_date": "2099-03-01 09:00",
            "timezone": "Europe/Berlin", "content": "The sale begins", "filter": "Active customers",
            "send_rate": 500}]}}"#,
    // Conditions on tags.
    r#"{"transactionId": "brazil-news-3", "account": "shop", "operation": "createMessage",
        "payload": {"notifications": [{"send_date": "now", "content": {"pt": "Novidades"},
            "conditions": [["Country", "EQ", "BR"], ["Level", "BETWEEN", [1, 5]], ["Name", "NOTSET", ""]],
            "conditions_operator": "AND", "platforms": [1, 3]}]}}"#,
    // A group of applications.
    r#"{"transactionId": "maintenance-5", "account": "shop", "operation": "createMessage",
        "payload": {"applications_group": "GROUP-CODE1", "notifications": [{"send_date": "now",
            "content": "We are back at 6", "filter": "Everybody in Berlin"}]}}"#,
    // Every subscriber of the application.
    r#"{"transactionId": "broadcast-2026-01-01", "account": "shop", "operation": "createMessage",
        "priority": "low", "notBefore": "2026-01-01T00:00:00Z",
        "payload": {"notifications": [{"send_date": "now", "content": "Happy New Year",
            "inbox_days": 7}]}}"#,
    // A geozone, silent on one platform.
    r#"{"transactionId": "store-opening-2", "account": "shop", "operation": "createMessage",
        "payload": {"notifications": [{"send_date": "now", "content": "Come in", "filter": "Nearby",
            "geozone": {"lat": 22.22, "lng": 33.33, "range": 110}, "ios_silent": 1}]}}"#,
    // An SMS.
    r#"{"transactionId": "sms-otp-9", "account": "shop", "operation": "createMessage",
        "priority": "high",
        "payload": {"notifications": [{"send_date": "now", "content": "Your code is 654321",
            "devices": ["+1234567890"], "platforms": [18]}]}}"#,
];
