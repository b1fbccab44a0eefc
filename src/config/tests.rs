//! What is read, what is refused, and with which words.

use super::*;

fn read(text: &str) -> Result<Config, Mistakes> {
    read_with(text, &[])
}

fn read_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let environment = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    read::read("kaneda.toml", text, &environment)
}

fn mistakes(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

const MINIMAL: &str = "[[source]]\ntype = 'udp'\n[[sink]]\ntype = 'null'\n";

#[test]
fn without_a_file_there_are_udp_tcp_and_http_and_the_embedded_store() {
    let config = read(DEFAULT).unwrap();
    let sources: Vec<_> =
        config.sources.iter().map(|source| (source.name.as_str(), source.kind.word())).collect();
    assert_eq!(sources, [("udp", "udp"), ("tcp", "tcp"), ("http", "http")]);
    assert_eq!(config.sinks.len(), 1);
    assert_eq!(config.sinks[0].kind.word(), "sqlite");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8126");
    assert_eq!(config.limits.memory_limit, Size::from_mib(256));
    assert_eq!(config.general.shutdown_timeout, Duration::from_secs(8));
    assert_eq!(config.general.sync_timeout, Duration::from_secs(10));
}

#[test]
fn three_mistakes_in_two_tables_are_three_errors_with_line_key_and_the_nearest_valid_one() {
    let text = r#"
[admin]
listn = "127.0.0.1:8126"
[[source]]
type = "udp"
[[sink]]
type = "null"
flush_intervall = "1s"
batch_max_bytes = "4MB"
"#;
    assert_eq!(
        mistakes(text),
        "kaneda.toml:3: in [admin]: `listn`: no such key; the nearest valid one is `listen`\n\
         kaneda.toml:8: in [[sink]] null: `flush_intervall`: no such key; the nearest valid one is `flush_interval`\n\
         kaneda.toml:9: in [[sink]] null: `batch_max_bytes`: `4MB` needs a unit, one of B, KiB, MiB, GiB, TiB: \
         write \"64MiB\""
    );
}

#[test]
fn two_wrong_values_in_one_table_are_two_errors() {
    let text = format!("shutdown_timeout = 8\nsync_timeout = true\n{MINIMAL}");
    let found = read(&text).unwrap_err();
    assert_eq!(
        found.list.iter().map(|mistake| mistake.key.as_str()).collect::<Vec<_>>(),
        ["shutdown_timeout", "sync_timeout"]
    );
    assert_eq!(found.list[1].place, Place::Line(2));
}

#[test]
fn an_unknown_type_table_or_word_names_the_nearest() {
    let found = read("[[source]]\ntype = 'upd'\n[[sink]]\ntype = 'null'\n[admn]\n").unwrap_err();
    assert_eq!(found.list.len(), 2);
    assert_eq!(found.list[0].nearest.as_deref(), Some("udp"));
    assert_eq!(found.list[0].place, Place::Line(2));
    assert_eq!(found.list[1].nearest.as_deref(), Some("admin"));
    let found = read(&format!("{MINIMAL}[admin]\nready_requires = ['sink']")).unwrap_err();
    assert_eq!(found.list[0].nearest.as_deref(), Some("sinks"));
    assert_eq!(found.list[0].key, "ready_requires");
}

#[test]
fn a_name_is_the_type_unless_two_share_it() {
    let text = "[[sink]]\ntype = 'null'\n[[sink]]\ntype = 'null'\nname = 'b'\n[[source]]\ntype = 'udp'\n";
    let found = read(text).unwrap_err();
    assert_eq!(found.list.len(), 1, "{found}");
    assert_eq!((found.list[0].key.as_str(), &found.list[0].place), ("name", &Place::Line(1)));
    let text = "[[sink]]\ntype = 'null'\nname = 'b'\n[[sink]]\ntype = 'sqlite'\nname = 'b'\n[[source]]\ntype = 'udp'\n";
    let found = read(text).unwrap_err();
    assert_eq!(found.list.len(), 1, "{found}");
    assert!(found.to_string().contains("`b` is the name of another table"), "{found}");
    let found = read(&format!("{MINIMAL}name = 'a b'")).unwrap_err();
    assert!(found.to_string().contains("letters, digits"), "{found}");
}

#[cfg(feature = "influxdb")]
#[test]
fn influxdb_has_two_batches_under_way_unless_the_file_or_the_environment_says_otherwise() {
    let of = |text: &str, variables: &[(&str, &str)]| {
        let text = format!("[[source]]\ntype = 'udp'\n[[sink]]\n{text}");
        read_with(&text, variables).unwrap().sinks[0].drain.concurrency.get()
    };
    assert_eq!(of("type = 'null'", &[]), 1);
    assert_eq!(of("type = 'influxdb'", &[]), 2);
    assert_eq!(of("type = 'influxdb'\nconcurrency = 1", &[]), 1);
    assert_eq!(of("type = 'influxdb'", &[("KANEDA_SINK_INFLUXDB_CONCURRENCY", "3")]), 3);
}

#[test]
fn a_file_without_sinks_or_sources_is_refused() {
    assert_eq!(mistakes("[[source]]\ntype = 'udp'"), "kaneda.toml: no [[sink]]: at least one is needed");
    assert_eq!(mistakes("[[sink]]\ntype = 'null'"), "kaneda.toml: no [[source]]: at least one is needed");
}

#[test]
fn a_line_that_is_no_toml_is_one_error_beside_the_others() {
    let text = format!("{MINIMAL}[admin]\nlisten = 127.0.0.1:8126\n[limits]\nmemory = '1GiB'\n");
    let found = read(&text).unwrap_err();
    assert_eq!(found.list.len(), 2, "{found}");
    assert_eq!(found.list[0].place, Place::Line(6));
    assert_eq!(found.list[1].key, "memory");
}

#[cfg(feature = "influxdb")]
#[test]
fn the_environment_overrides_keys_and_makes_tables() {
    let config = read_with(
        DEFAULT,
        &[
            ("KANEDA_HOSTNAME", "web1"),
            ("KANEDA_ADMIN_LISTEN", "0.0.0.0:9000"),
            ("KANEDA_ADMIN_READY_REQUIRES", "[\"sinks\"]"),
            ("KANEDA_LIMITS_MAX_TAGS", "7"),
            ("KANEDA_SINK_SQLITE_FLUSH_INTERVAL", "3s"),
            ("KANEDA_SINK_SQLITE_BATCH_MAX_RECORDS", "17"),
            ("KANEDA_SINK_SECOND_TYPE", "influxdb"),
            ("KANEDA_SINK_SECOND_USER", "me"),
            ("KANEDA_SINK_SECOND_PASSWORD", "12345"),
            ("KANEDA_SINK_SECOND_TLS", "{ ca = \"/ca.pem\" }"),
        ],
    )
    .unwrap();
    assert_eq!(config.general.hostname.as_deref(), Some("web1"));
    assert_eq!(config.admin.listen.to_string(), "0.0.0.0:9000");
    assert_eq!(config.admin.ready_requires, [crate::admin::Requirement::Sinks]);
    assert_eq!(config.limits.protocol.max_tags, 7);
    assert_eq!(config.sinks[0].drain.flush_interval, Duration::from_secs(3));
    assert_eq!(config.sinks[0].drain.batch_max_records.get(), 17);
    assert_eq!((config.sinks[1].name.as_str(), config.sinks[1].kind.word()), ("second", "influxdb"));
    let SinkKind::Influxdb(influxdb) = &config.sinks[1].kind else { panic!("{:?}", config.sinks[1]) };
    assert_eq!(influxdb.password.as_deref(), Some("12345"));
    assert_eq!(influxdb.tls.as_ref().unwrap().ca.as_deref(), Some("/ca.pem".as_ref()));
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    let found = read_with(
        DEFAULT,
        &[
            ("KANEDA_ADMIN_LISTN", "0.0.0.0:9000"),
            ("KANEDA_LIMITS_MAX_TAGS", "many"),
            ("KANEDA_SINK_SQLITE_BATCH_MAX_BYTES", "5"),
        ],
    )
    .unwrap_err();
    let text = found.to_string();
    assert_eq!(found.list.len(), 3, "{text}");
    assert!(text.contains("environment variable KANEDA_ADMIN_LISTN: no key"), "{text}");
    assert!(text.contains("the nearest valid one is `KANEDA_ADMIN_LISTEN`"), "{text}");
    assert!(
        text.contains("environment variable KANEDA_LIMITS_MAX_TAGS: in [limits]: `max_tags`: "),
        "{text}"
    );
    assert!(
        text.contains("KANEDA_SINK_SQLITE_BATCH_MAX_BYTES: in [[sink]] sqlite: `batch_max_bytes`: `5` "),
        "{text}"
    );
}

#[test]
fn variables_of_kubernetes_and_of_others_are_left_alone() {
    let variables = [
        ("KANEDA_PORT", "udp://10.0.0.1:8125"),
        ("KANEDA_ADMIN_PORT_8126_TCP_ADDR", "10.0.0.1"),
        ("KANEDA_ADMIN_SERVICE_HOST", "10.0.0.1"),
        ("KANEDA_SETTINGS", "elsewhere.toml"),
        ("KANEDA_LOG", "debug"),
        ("KANEDA_TEST_MONGODB", "mongodb://"),
    ];
    let (with, without) = (read_with(DEFAULT, &variables).unwrap(), read(DEFAULT).unwrap());
    assert_eq!(format!("{with:?}"), format!("{without:?}"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let environment = Environment::from_iter([(SETTINGS.to_owned(), "/nowhere/k.toml".to_owned())]);
    let text = Config::load(None, &environment).unwrap_err().to_string();
    assert!(text.starts_with("/nowhere/k.toml: cannot be read: "), "{text}");
}
