//! What concerns a whole server, and so no other test beside it.

use std::sync::Arc;

use elasticsearch::http::Method;
use serde_json::{Value, json};

use crate::report::{last_error, store};
use crate::server::Server;

crate::tests! {
    a_server_that_makes_no_indices_is_waited_for
}

async fn a_server_that_makes_no_indices_is_waited_for(server: Arc<Server>) {
    let place = server.place("no_index");
    let sink = place.sink();
    let setting = |value: Value| json!({"persistent": {"action.auto_create_index": value}});
    place.ask(Method::Put, "/_cluster/settings", setting(json!("false"))).await;
    let why = last_error(&*sink, "n:1|c\n").await;
    place.ask(Method::Put, "/_cluster/settings", setting(Value::Null)).await;
    assert!(why.contains("make indices"), "{why}");
    store(&*sink, "n:1|c\n").await;
}
