//! Sample jobs for an account named `shop`: one of each kind of targeting, then of each platform's
//! members, then messages to a filter.

/// All of them, each a valid job.
pub(super) static ALL: [&str; 21] = [
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
            "inbox_date": "2026-01-08"}]}}"#,
    // A geozone, silent on one platform.
    r#"{"transactionId": "store-opening-2", "account": "shop", "operation": "createMessage",
        "payload": {"notifications": [{"send_date": "now", "content": "Come in", "filter": "Nearby",
            "geozone": {"lat": 22.22, "lng": 33.33, "range": 110}, "ios_silent": 1}]}}"#,
    // An SMS.
    r#"{"transactionId": "sms-otp-9", "account": "shop", "operation": "createMessage",
        "priority": "high",
        "payload": {"notifications": [{"send_date": "now", "content": "Your code is 654321",
            "devices": ["+1234567890"], "platforms": [18]}]}}"#,
    // What phones show.
    r##"{"transactionId": "phones-1", "account": "shop", "operation": "createMessage",
        "payload": {"notifications": [{"send_date": "now", "content": "Card payment of 12 EUR",
            "users": ["user_1"], "ios_badges": "+1", "ios_sound": "coin.wav", "ios_ttl": 600,
            "ios_category_id": "1", "ios_root_params": {"aps": {"mutable-content": 1}},
            "ios_interruption_level": "time-sensitive", "android_header": "Payments",
            "android_badges": "+1", "android_gcm_ttl": 600, "android_led": "#00aa00",
            "android_priority": 2, "android_delivery_priority": "high", "android_ibc": "green",
            "huawei_android_badges": true, "huawei_android_priority": 2,
            "huawei_android_vibration": 1, "adm_header": "Payments", "adm_priority": 1}]}}"##,
    // What browsers and desks show.
    r#"{"transactionId": "browsers-1", "account": "shop", "operation": "createMessage",
        "payload": {"notifications": [{"send_date": "now", "content": "Your statement is ready",
            "filter": "Web customers", "safari_title": "Statement", "safari_url_args": ["statements"],
            "chrome_title": "Statement", "chrome_duration": 20, "chrome_button_text1": "Open",
            "chrome_button_url1": "https://shop.example/statements", "firefox_title": "Statement",
            "mac_badges": 1, "wns_content": {"en": "PGJhZGdlIHZhbHVlPSJuZXdNZXNzYWdlIi8+"},
            "wns_type": "Badge", "wns_tag": "statement", "wns_cache": 1, "wns_ttl": 600}]}}"#,
    // A filter over the account's applications and tags.
    r#"{"transactionId": "targeted-news-1", "account": "shop", "operation": "createTargetedMessage",
        "priority": "low",
        "payload": {"devices_filter": "A(\"XXXXX-XXXXX\", [\"iOS\", \"Android\"]) * T(\"Language\", EQ, \"en\")",
            "send_date": "now", "content": {"en": "News"}, "title": {"en": "Shop"},
            "data": {"page": "news"}, "ios_badges": 1}}"#,
    // The same at a given time, under an identity of its own.
    r#"{"transactionId": "targeted-sale-1", "account": "shop", "operation": "createTargetedMessage",
        "payload": {"devices_filter": "G(\"GROUP-CODE1\") \\ AT(\"XXXXX-XXXXX\", \"Level\", GTE, 5)",
            "send_date": "2099-03-01 09:00", "timezone": "Europe/Berlin", "content": "The sale begins",
            "transactionId": "sale-2099", "send_rate": 500, "inbox_date": "2099-03-08"}}"#,
    // A scheduled message is withdrawn.
    r#"{"transactionId": "spring-sale-withdrawn", "account": "shop", "operation": "deleteMessage",
        "payload": {"message": "XXXX-92B4C3C5-A7F5EF70"}}"#,
    // A message on its way is stopped.
    r#"{"transactionId": "brazil-news-3-stopped", "account": "shop", "operation": "cancelMessage",
        "priority": "high", "payload": {"message": "97B0-C7473871-2FBDFDC6"}}"#,
    // One message is looked up by its code, and by its id.
    r#"{"transactionId": "order-4711-details", "account": "shop", "operation": "getMessageDetails",
        "payload": {"message": "XXXX-92B4C3C5-A7F5EF70"}}"#,
    r#"{"transactionId": "order-4711-details-2", "account": "shop", "operation": "getMessageDetails",
        "meta": {"order": 4711}, "payload": {"message": 2068991743}}"#,
    // The history: as it comes, searched, and the next page.
    r#"{"transactionId": "history-2026-01", "account": "shop", "operation": "getPushHistory",
        "payload": {}}"#,
    r#"{"transactionId": "history-2026-01-api", "account": "shop", "operation": "getPushHistory",
        "payload": {"limitMessages": 100, "source": "API", "searchBy": "applicationCode",
            "value": "XXXXX-XXXXX"}}"#,
    r#"{"transactionId": "history-2026-01-page-2", "account": "shop", "operation": "getPushHistory",
        "payload": {"limitMessages": 1000, "source": null, "lastNotificationID": "10191609202"}}"#,
];
