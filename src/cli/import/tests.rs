//! What is printed for each class and each setting of Kaneda, and that a daemon takes it.

use proptest::prelude::*;

use super::*;

/// What is printed for settings: all taken over or not, the configuration, and what is told.
fn import(text: &str) -> (bool, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (all, _) = write("s.py", text, &mut out, &mut err).unwrap();
    (all, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// The configuration, which has to pass `kaneda check` with whatever this build has.
fn checked(text: &str) -> (bool, toml::Table, String) {
    let (all, out, err) = import(text);
    let table: toml::Table = out.parse().unwrap_or_else(|error| panic!("{error}\n{out}"));
    let kinds = ["source", "sink"].into_iter().flat_map(|key| table[key].as_array().unwrap());
    let built = [
        ("elasticsearch", cfg!(feature = "elasticsearch")),
        ("mongodb", cfg!(feature = "mongodb")),
        ("rethinkdb", cfg!(feature = "rethinkdb")),
        ("influxdb", cfg!(feature = "influxdb")),
        ("log", cfg!(feature = "log")),
        ("sqlite", cfg!(feature = "sqlite")),
        ("celery", cfg!(feature = "celery")),
        ("rq", cfg!(feature = "rq")),
        ("zmq", cfg!(feature = "zmq")),
    ];
    let is_built = |kind: &str| built.iter().all(|(name, is_built)| *name != kind || *is_built);
    let is_amqp_built = cfg!(feature = "amqp") || !out.contains("amqp://");
    if is_amqp_built && kinds.map(|table| table["type"].as_str().unwrap()).all(is_built) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &out).unwrap();
        let config = Config::load(Some(file.path()), &Environment::default());
        let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}\n{out}"));
        daemon::check(&config).unwrap_or_else(|mistakes| panic!("{mistakes}\n{out}"));
    }
    (all, table, err)
}

/// The keys of a table, as TOML.
fn keys(table: &toml::Table, key: &str) -> Vec<String> {
    let tables = table[key].as_array().unwrap();
    assert_eq!(tables.len(), 1, "{table:?}");
    let table = tables[0].as_table().unwrap();
    let mut keys: Vec<_> = table.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    keys.sort();
    keys
}

fn sorted(keys: &[&str]) -> Vec<String> {
    let mut keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
    keys.sort();
    keys
}

fn assert_sink(text: &str, expected: &[&str]) {
    let (all, table, err) = checked(text);
    assert_eq!((all, keys(&table, "sink")), (true, sorted(expected)), "{err}");
}

fn assert_source(text: &str, expected: &[&str]) {
    let (all, table, err) = checked(&format!("BACKEND = 'kaneda.backends.LoggerBackend'\n{text}"));
    assert_eq!((all, keys(&table, "source")), (true, sorted(expected)), "{err}");
}

#[test]
fn elasticsearch_is_taken_over_by_host() {
    assert_sink(
        "BACKEND = 'kaneda.backends.ElasticsearchBackend'\nELASTIC_INDEX_NAME = 'myindex'\nELASTIC_APP_NAME = 'myapp'\n\
         ELASTIC_HOST = ['db1', 'db2:9201']\nELASTIC_PORT = 9300\nELASTIC_USER = 'kaneda'\nELASTIC_PASSWORD = 'p\"\\n'\n\
         ELASTIC_TIMEOUT = 0.3\nELASTIC_CLIENT = None\n",
        &[
            "type = \"elasticsearch\"",
            "index_name = \"myindex\"",
            "app_name = \"myapp\"",
            "host = [\"db1\", \"db2:9201\"]",
            "port = 9300",
            "user = \"kaneda\"",
            &format!("password = {}", toml::Value::from("p\"\n")),
        ],
    );
}

#[test]
fn elasticsearch_is_taken_over_by_url_which_goes_before_host_and_login() {
    assert_sink(
        "BACKEND = 'kaneda.backends.ElasticsearchBackend'\nELASTIC_CONNECTION_URL = ['https://u:s@db', 'https://u:s@b:1']\n\
         ELASTIC_HOST = 'x'\nELASTIC_PORT = 1\nELASTIC_USER = 'y'\nELASTIC_PASSWORD = 'z'\nELASTIC_TIMEOUT = 60\n",
        &[
            "type = \"elasticsearch\"",
            "connection_url = [\"https://u:s@db\", \"https://u:s@b:1\"]",
            "timeout = \"60000ms\"",
        ],
    );
}

#[test]
fn mongodb_is_taken_over() {
    assert_sink(
        "BACKEND = 'kaneda.backends.MongoBackend'\nMONGO_DB_NAME = 'm'\nMONGO_COLLECTION_NAME = 'c'\nMONGO_HOST = 'db'\n\
         MONGO_PORT = 27018\nMONGO_TIMEOUT = 300\nMONGO_CLIENT = None\n",
        &[
            "type = \"mongodb\"",
            "db_name = \"m\"",
            "collection_name = \"c\"",
            "host = \"db\"",
            "port = 27018",
        ],
    );
    assert_sink(
        "BACKEND = 'kaneda.backends.MongoBackend'\nMONGO_DB_NAME = 'm'\nMONGO_COLLECTION_NAME = 'c'\n\
         MONGO_CONNECTION_URL = 'mongodb://u:s@db:27017/'\nMONGO_HOST = 'x'\nMONGO_PORT = 1\nMONGO_TIMEOUT = 20000\n",
        &[
            "type = \"mongodb\"",
            "db_name = \"m\"",
            "collection_name = \"c\"",
            "connection_url = \"mongodb://u:s@db:27017/\"",
            "timeout = \"20000ms\"",
        ],
    );
}

#[test]
fn rethinkdb_is_taken_over() {
    assert_sink(
        "BACKEND = 'kaneda.backends.RethinkBackend'\nRETHINK_DB = 'd'\nRETHINK_TABLE_NAME = 't'\nRETHINK_HOST = 'db'\n\
         RETHINK_PORT = 28016\nRETHINK_USER = 'u'\nRETHINK_PASSWORD = 's'\nRETHINK_TIMEOUT = 11\nRETHINK_CONNECTION = None\n",
        &[
            "type = \"rethinkdb\"",
            "db_name = \"d\"",
            "table_name = \"t\"",
            "host = \"db\"",
            "port = 28016",
            "user = \"u\"",
            "password = \"s\"",
            "timeout = \"11000ms\"",
        ],
    );
}

#[test]
fn a_half_login_is_left_out_as_in_kaneda() {
    let text = "BACKEND = 'kaneda.backends.RethinkBackend'\nRETHINK_USER = 'u'\n";
    assert_sink(text, &["type = \"rethinkdb\""]);
    assert!(import(text).1.contains("# RETHINK_USER (line 2): not used without RETHINK_PASSWORD\n"));
}

#[test]
fn influxdb_is_taken_over() {
    assert_sink(
        "BACKEND = 'kaneda.backends.InfluxBackend'\nINFLUX_DATABASE = 'd'\nINFLUX_HOST = 'db'\nINFLUX_PORT = '8087'\n\
         INFLUX_USERNAME = 'u'\nINFLUX_PASSWORD = 's'\nINFLUX_TIMEOUT = 300\nINFLUX_CLIENT = None\n",
        &[
            "type = \"influxdb\"",
            "database = \"d\"",
            "host = \"db\"",
            "port = 8087",
            "user = \"u\"",
            "password = \"s\"",
            "timeout = \"300000ms\"",
        ],
    );
    let url = "BACKEND = 'kaneda.backends.InfluxBackend'\nINFLUX_DATABASE = 'd'\nINFLUX_HOST = 'x'\nINFLUX_USERNAME = 'x'\n";
    assert_sink(
        &format!("{url}INFLUX_CONNECTION_URL = 'influxdb://u:s@db:8086/other'\n"),
        &["type = \"influxdb\"", "connection_url = \"influxdb://u:s@db:8086/other\""],
    );
    assert_sink(
        &format!("{url}INFLUX_CONNECTION_URL = 'influxdb://db:8086'\n"),
        &["type = \"influxdb\"", "connection_url = \"influxdb://db:8086\"", "database = \"d\""],
    );
}

#[test]
fn the_logger_is_taken_over() {
    let expected = ["type = \"log\"", "format = \"text\"", "path = \"/tmp/k.log\""];
    assert_sink(
        "BACKEND = 'kaneda.backends.LoggerBackend'\nLOGGER_FILENAME = '/tmp/k.log'\nLOGGER_LOGGER = None\n",
        &expected,
    );
    let (all, table, err) = checked(
        "KANEDA_BACKEND = 'kaneda.backends.MongoBackend'\nKANEDA_DEBUG = True\nKANEDA_LOGGER_FILENAME = '/tmp/k.log'\n",
    );
    assert!(!all && err.contains("KANEDA_DEBUG (line 2) is on"), "{err}");
    assert_eq!(keys(&table, "sink"), sorted(&expected));
    let (all, table, err) = checked("KANEDA_DEBUG = 1\nKANEDA_LOGGER = 'kaneda.demo'\n");
    assert!(!all && err.contains("KANEDA_LOGGER (line 2): it is an object of Python, or names one"), "{err}");
    assert_eq!(keys(&table, "sink"), sorted(&expected[..2]));
}

#[test]
fn zeromq_is_taken_over() {
    assert_source(
        "QUEUE = 'kaneda.queues.ZMQQueue'\nZMQ_CONNECTION_URL = 'tcp://app1:5555'\nZMQ_TIMEOUT = 300\n",
        &["type = \"zmq\"", "connection_url = \"tcp://app1:5555\""],
    );
    // The file of zmqworker need not name a class.
    assert_source(
        "ZMQ_CONNECTION_URL = 'tcp://*:5555'\n",
        &["type = \"zmq\"", "connection_url = \"tcp://127.0.0.1:5555\""],
    );
    assert_source(
        "QUEUE = 'kaneda.queues.ZMQQueue'",
        &["type = \"zmq\"", "connection_url = \"tcp://127.0.0.1:5555\""],
    );
}

#[test]
fn celery_on_redis_is_taken_over() {
    assert_source(
        "QUEUE = 'kaneda.queues.CeleryQueue'\nCELERY_BROKER = 'redis://:s@b:6379/1'\nCELERY_QUEUE_NAME = 'q'\nCELERY_APP = None\n",
        &["type = \"celery\"", "name = \"celery\"", "broker = \"redis://:s@b:6379/1\"", "queue_name = \"q\""],
    );
}

#[test]
fn celery_on_rabbitmq_is_taken_over() {
    for (broker, url) in [
        ("CELERY_BROKER = 'amqp://u:s@b:5673//'", "amqp://u:s@b:5673//"),
        ("CELERY_BROKER = 'pyamqp://b/shop'", "amqp://b/shop"),
        ("CELERY_BROKER = ''", "amqp://"),
        ("CELERY_BROKER = 'amqps://u:s@b/shop'", "amqps://u:s@b/shop"),
        ("", "amqp://"),
    ] {
        let broker = format!("QUEUE = 'kaneda.queues.CeleryQueue'\n{broker}\n");
        assert_source(&broker, &["type = \"celery\"", "name = \"celery\"", &format!("broker = \"{url}\"")]);
    }
}

#[test]
fn brokers_that_are_not_spoken_become_the_nearest_that_there_is_and_say_so() {
    let nearest = ["broker = \"redis://127.0.0.1:6379/0\"", "name = \"celery\"", "type = \"celery\""];
    let store = "BACKEND = 'kaneda.backends.LoggerBackend'\nQUEUE = 'kaneda.queues.";
    let (all, table, err) = checked(&format!("{store}CeleryQueue'\nCELERY_BROKER = 'sqs://u:hush@b'\n"));
    assert!(!all && err.contains("this broker") && !err.contains("hush"), "{err}");
    assert_eq!(keys(&table, "source"), nearest);
}

#[test]
fn rq_is_taken_over() {
    assert_source(
        "QUEUE = 'kaneda.queues.RQQueue'\nRQ_REDIS_URL = 'redis://:s@r:6379/2'\nRQ_QUEUE_NAME = 'q'\nRQ_QUEUE = None\n",
        &["type = \"rq\"", "redis_url = \"redis://:s@r:6379/2\"", "queue_name = \"q\""],
    );
    // What holds in Kaneda where nothing is set holds here.
    assert_source("QUEUE = 'kaneda.queues.RQQueue'", &["type = \"rq\""]);
    assert_source(
        "QUEUE = 'kaneda.queues.RQQueue'\nRQ_REDIS_URL = 'rediss://:s@r/2?ssl_cert_reqs=none'\n",
        &["type = \"rq\"", "redis_url = \"rediss://:s@r/2?ssl_cert_reqs=none\""],
    );
    let (all, table, err) = checked("RQ_REDIS_URL = 'unix://hush'\n");
    assert!(!all && err.contains("only redis:// and rediss://") && !err.contains("hush"), "{err}");
    assert_eq!(keys(&table, "source"), ["redis_url = \"redis://127.0.0.1:6379/0\"", "type = \"rq\""]);
    checked("CELERY_BROKER = 'redis://a'\nRQ_REDIS_URL = 'redis://b'\n");
}

#[test]
fn objects_of_python_and_classes_of_ones_own_are_told() {
    for (class, object) in [
        ("backends.ElasticsearchBackend", "ELASTIC_CLIENT"),
        ("backends.MongoBackend", "MONGO_CLIENT"),
        ("backends.RethinkBackend", "RETHINK_CONNECTION"),
        ("backends.InfluxBackend", "INFLUX_CLIENT"),
        ("backends.LoggerBackend", "LOGGER_LOGGER"),
        ("queues.CeleryQueue", "CELERY_APP"),
        ("queues.RQQueue", "RQ_QUEUE"),
    ] {
        let key = if class.starts_with('q') { "QUEUE" } else { "BACKEND" };
        let (all, _, err) = checked(&format!("{key} = 'kaneda.{class}'\n{object} = make()\n"));
        assert!(!all && err.contains(&format!("{object} (line 2): it is a call")), "{err}");
    }
    let (all, table, err) = checked("BACKEND = 'own.Backend'\nQUEUE = 'own.Queue'\n");
    assert!(!all && err.contains("BACKEND (line 1): \"own.Backend\" is no class of Kaneda"), "{err}");
    assert!(err.contains("QUEUE (line 2): \"own.Queue\" is no class of Kaneda"), "{err}");
    assert_eq!(keys(&table, "sink"), ["type = \"sqlite\""]);
    assert_eq!(table["source"].as_array().unwrap().len(), 3);
}

#[test]
fn django_has_a_prefix_and_defaults_of_its_own() {
    let (all, table, err) = checked(
        "from pathlib import Path\nDEBUG = True\nBASE_DIR = Path(__file__)\nLOGGING = {'version': 1}\n\
         CELERY_BROKER = 'not ours'\nKANEDA_BACKEND = 'kaneda.backends.MongoBackend'\n",
    );
    assert!(
        all && err == "kaneda: s.py: passed over, no literals and no settings of Kaneda: lines 1, 3\n",
        "{err}"
    );
    assert_eq!(keys(&table, "sink"), ["collection_name = \"default\"", "type = \"mongodb\""]);
    assert_eq!(table["source"].as_array().unwrap().len(), 3);
    let (_, table, _) =
        checked("KANEDA_BACKEND = 'kaneda.backends.ElasticsearchBackend'\nKANEDA_ELASTIC_HOST = 'db'\n");
    assert_eq!(table["sink"][0]["app_name"].as_str(), Some("default"));
    let (_, table, _) = checked(
        "KANEDA = {\n  'BACKEND': 'kaneda.backends.MongoBackend',\n  'MONGO_HOST': 'db',\n  'QUEUE': 'kaneda.queues.ZMQQueue',\n\
         'ZMQ_CONNECTION_URL': 'tcp://a:1' }\n",
    );
    assert_eq!(table["sink"][0]["host"].as_str(), Some("db"));
    assert_eq!(table["source"][0]["connection_url"].as_str(), Some("tcp://a:1"));
    let (all, _, err) = checked("KANEDA = dict(BACKEND='x')\n");
    assert!(!all && err.contains("KANEDA (line 1): it is a call"), "{err}");
    // As Kaneda's documentation has it.
    let text = "KANEDA_BACKEND = 'kaneda.queues.CeleryQueue'\nKANEDA_CELERY_BROKER = 'redis://a'\n";
    assert_eq!(
        keys(&checked(text).1, "source"),
        ["broker = \"redis://a\"", "name = \"celery\"", "type = \"celery\""]
    );
}

#[test]
fn a_setting_that_is_no_literal_is_told_with_its_line_and_its_variable() {
    let (all, out, err) = import(
        "import os\nBACKEND = 'kaneda.backends.ElasticsearchBackend'\nELASTIC_USER = 'u'\nELASTIC_PASSWORD = 'old'\n\
         ELASTIC_PASSWORD = os.environ['PW']\nMONGO_HOST = 'x'\n",
    );
    assert!(!all && !out.contains("old") && !out.contains("\npassword"), "{out}");
    let told = "ELASTIC_PASSWORD (line 5): it is no literal: set password here, or KANEDA_SINK_ELASTICSEARCH_PASSWORD in the \
                environment";
    assert!(err.contains(told), "{err}");
    assert!(out.ends_with("# Settings that the classes above do not use:\n# MONGO_HOST (line 6)\n"), "{out}");
    let (all, table, _) = checked("ZMQ_CONNECTION_URL = env('X')\nCELERY_BROKER = env('Y')\n");
    assert!(!all);
    assert_eq!(table["source"].as_array().unwrap().len(), 2);
}

#[test]
fn a_secret_is_told_how_to_leave_the_file() {
    let (_, out, _) = import("RETHINK_USER = 'u'\nRETHINK_PASSWORD = 's'\nCELERY_BROKER = 'redis://:s@a'\n");
    for variable in ["KANEDA_SINK_RETHINKDB_PASSWORD", "KANEDA_SOURCE_CELERY_BROKER"] {
        assert!(out.contains(variable), "{out}");
    }
}

#[test]
fn a_file_without_settings_of_kaneda_is_told_and_nothing_is_printed() {
    let (all, out, err) = import("from .base import *\nX = 1\n");
    assert_eq!((all, out.as_str()), (false, ""));
    assert_eq!(err.lines().count(), 3, "{err}");
    assert!(err.contains("s.py:1: takes the names of another module"), "{err}");
}

#[cfg(all(feature = "elasticsearch", feature = "mongodb", feature = "rethinkdb", feature = "celery"))]
#[test]
fn what_check_has_to_say_of_the_result_is_told_and_the_result_is_printed() {
    let elastic = "BACKEND = 'kaneda.backends.ElasticsearchBackend'\nELASTIC_APP_NAME = 'a'\n";
    let mongo = "BACKEND = 'kaneda.backends.MongoBackend'\nMONGO_COLLECTION_NAME = 'c'\n";
    for (settings, key) in [
        (format!("{elastic}ELASTIC_HOST = ['https://a', 'b']"), "connection_url"),
        (format!("{elastic}ELASTIC_INDEX_NAME = 'MyIndex'"), "index_name"),
        (format!("{mongo}MONGO_CONNECTION_URL = 'mongodb://a/?nosuch=1'"), "connection_url"),
        ("BACKEND = 'kaneda.backends.RethinkBackend'\nRETHINK_TABLE_NAME = 'a b'".to_owned(), "table_name"),
        (format!("{mongo}CELERY_BROKER = 'redis://h/abc'"), "broker"),
    ] {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let all = run("s.py", &settings, &Environment::default(), &mut out, &mut err).unwrap();
        let (out, err) = (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap());
        assert!(!all && out.contains(&format!("\n{key} = ")), "{out}{err}");
        let (sentence, mistake) = err.split_once('\n').unwrap();
        assert_eq!(sentence, "kaneda: s.py: what is printed does not pass `kaneda check`, which says:");
        let line = mistake.strip_prefix("kaneda.toml:").and_then(|rest| rest.split(':').next());
        let line: usize = line.unwrap_or_default().parse().unwrap_or_else(|_| panic!("{err}"));
        assert!(mistake.contains(key) && out.lines().nth(line - 1).unwrap().starts_with(key), "{out}{err}");
        assert_eq!(err.lines().count(), 2, "{err}");
    }
}

#[test]
fn a_module_that_is_no_utf_8_is_refused_by_its_line() {
    assert_eq!(text(b"# -*- coding: utf-8 -*-\r\nA = '\xc3\xa9'\n".to_vec()).unwrap().lines().count(), 2);
    assert_eq!(text(b"# -*- coding: latin-1 -*-\nA = 'a'\nB = '\xe9'\n".to_vec()), Err(3));
    assert_eq!(text(b"\xff".to_vec()), Err(1));
}

proptest! {
    #[test]
    fn whatever_the_values_are_the_configuration_is_toml_and_holds_them(
        password in "[^\0]{1,40}",
        other in any::<String>(),
    ) {
        let python = |text: &str| text.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect::<String>();
        let (_, out, _) = import(&format!(
            "BACKEND = 'kaneda.backends.RethinkBackend'\nRETHINK_USER = 'u'\nRETHINK_PASSWORD = '{}'\nQUEUE = '{}'\n",
            python(&password), python(&other),
        ));
        let table: toml::Table = out.parse().unwrap();
        prop_assert_eq!(table["sink"][0]["password"].as_str(), Some(password.as_str()));
    }
}
