//! The binary on the command line: what it prints and how it ends.

#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs kaneda with nothing of this process's environment, `input` on its standard input.
fn kaneda(arguments: &[&str], variables: &[(&str, &str)], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kaneda"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Not every command reads it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn check_names_every_mistake_and_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("k.toml");
    let text = "[limits]\nmemory_limt = '1GiB'\n[[source]]\ntype = 'udp'\nlisten = 8125\ndialekt = 'statsd'\n\
                [[sink]]\ntype = 'null'\n";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let (code, out, err) = kaneda(&["check", "-c", file], &[], "");
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(
        err,
        format!(
            "{file}:2: in [limits]: `memory_limt`: no such key; the nearest valid one is `memory_limit`\n\
             {file}:5: in [[source]] udp: `listen`: invalid type: integer `8125`, expected a string\n\
             {file}:6: in [[source]] udp: `dialekt`: no such key; the nearest valid one is `dialect`\n"
        )
    );
    let (code, _, err) = kaneda(&["run"], &[("KANEDA_SETTINGS", file)], "");
    assert_eq!((code, err.lines().count()), (2, 3), "{err}");
}

#[test]
fn check_gives_the_line_of_what_shows_only_when_the_parts_come_together() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("k.toml");
    let text = "[limits]
memory_limit = '1MiB'
[[source]]
type = 'tcp'
listen = '0.0.0.0:8126'
[[source]]
type = 'udp'
name = 'one'
listen = '127.0.0.1:8126'
[[source]]
type = 'udp'
name = 'two'
listen = '0.0.0.0:8126'
[[sink]]
type = 'null'
name = 'a'
[[sink]]
type = 'null'
name = 'b'
dead_letters = 'kaneda-data/dead/a.jsonl'
";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let (code, out, err) = kaneda(&["check", "-c", file], &[], "");
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    let lines: Vec<_> = err.lines().filter(|line| line.starts_with(file)).collect();
    assert!(lines[0].starts_with(&format!("{file}:2: in [limits]: memory_limit = ")), "{err}");
    assert_eq!(
        lines[1..],
        [
            format!("{file}:5: in [[source]] tcp: listen: [admin] listens there too: name another address"),
            format!(
                "{file}:13: in [[source]] two: listen: source one listens there too: name another address"
            ),
            format!(
                "{file}:20: in [[sink]] b: dead_letters: sink a writes to this file too: name another one"
            ),
        ]
    );
}

/// What `check` says of this file with these variables: the lines of the mistakes, and what they are.
fn mistakes(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("k.toml");
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let (code, out, err) = kaneda(&["check", "-c", file], variables, "");
    assert_eq!(
        (code, out.is_empty(), err.is_empty()),
        if err.is_empty() { (0, false, true) } else { (2, true, false) }
    );
    err.lines().map(|line| line.strip_prefix(&format!("{file}:")).unwrap_or(line).to_owned()).collect()
}

#[cfg(feature = "influxdb")]
#[test]
fn check_names_all_that_is_wrong_in_every_table_at_once() {
    let text = "[limits]
max_tags = 0
max_line_bytes = 0
[[source]]
type = 'http'
name = 'a'
[[source]]
type = 'http'
name = 'b'
[[sink]]
type = 'influxdb'
name = 'c'
database = ''
[[sink]]
type = 'influxdb'
name = 'd'
password = 'x'
[[sink]]
type = 'null'
retry_first = '1h'
ring_bytes = '0'
";
    let found = mistakes(text, &[("KANEDA_LOG", "foo")]);
    let starts = [
        "2: in [limits]: max_tags = 0: ",
        "3: in [limits]: max_line_bytes = 0: ",
        "7: in [[source]] b: source a is on the admin address too",
        "13: in [[sink]] c: ",
        "17: in [[sink]] d: ",
        "18: in [[sink]] null: retry_ceiling = ",
        "21: in [[sink]] null: ring_bytes = 0: ",
        "environment variable KANEDA_LOG: `foo` is no level",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(start), "{start}: {found}");
    }
}

#[test]
fn check_finds_two_sinks_that_write_to_one_file_and_an_address_within_another() {
    let text = "[[source]]
type = 'udp'
name = 'all'
listen = '[::]:7125'
[[source]]
type = 'udp'
name = 'one'
listen = '0.0.0.0:7125'
[[sink]]
type = 'log'
name = 'a'
path = 'x.jsonl'
[[sink]]
type = 'log'
name = 'b'
path = './nothing/../x.jsonl'
[[sink]]
type = 'null'
dead_letters = 'x.jsonl'
";
    // `..` is no place before its folder is there.
    std::fs::create_dir_all(concat!(env!("CARGO_TARGET_TMPDIR"), "/nothing")).unwrap();
    assert_eq!(
        mistakes(text, &[]),
        [
            "8: in [[source]] one: listen: source all listens there too: name another address",
            "16: in [[sink]] b: path: sink a writes to this file too: name another one",
            "19: in [[sink]] null: dead_letters: sink a writes to this file too: name another one",
        ]
    );
}

#[test]
fn values_that_make_no_sense_are_refused_with_a_reason() {
    let sources = "[[source]]\ntype = 'udp'\nhostname = ''\n[[sink]]\ntype = 'null'\n";
    let text = format!("hostname = ''\nsync_timeout = '0'\n{sources}[journal]\nsegment_size = '1B'\n");
    let found = mistakes(&text, &[]);
    let starts = [
        "1: `hostname`: must not be empty",
        "2: sync_timeout = 0: ",
        "5: in [[source]] udp: `hostname`: must not be empty",
        "9: in [journal]: segment_size = \"1B\": must be 64KiB at least",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(start), "{start}: {found}");
    }
}

#[test]
fn an_empty_variable_is_as_none() {
    let variables = [("KANEDA_HOSTNAME", ""), ("KANEDA_SETTINGS", ""), ("KANEDA_SINK_X_TYPE", "")];
    let (code, out, err) = kaneda(&["check"], &variables, "");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("no configuration file"), "{out}");
}

#[test]
fn mistakes_are_told_in_words_of_the_file() {
    let text = "[admin]\nlisten = 'here'\n[limits]\nmax_tags = -1\n[[source]]\ntype = 'udp'\nworkers = 0\nfoo = 1\n[[sink]]\ntype = 'null'\n";
    let found = mistakes(text, &[]);
    let ends = [
        "expected an address and a port, as \"127.0.0.1:8126\"",
        "expected a whole number of 0 or more",
        "expected a whole number of 1 or more",
        "`foo`: no such key",
    ];
    assert_eq!(found.len(), ends.len(), "{found:#?}");
    for (found, end) in found.iter().zip(ends) {
        assert!(found.ends_with(end), "{end}: {found}");
    }
    assert_eq!(mistakes("[[source]\n", &[]).len(), 1, "nothing follows from what is no TOML");
}

#[cfg(feature = "influxdb")]
#[test]
fn the_sidecar_is_good_with_the_password_that_it_speaks_of() {
    let text = include_str!("../config/sidecar.toml");
    assert!(mistakes(text, &[("KANEDA_SINK_INFLUXDB_PASSWORD", "secret")]).is_empty());
}

#[test]
fn parse_can_have_the_limits_of_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("k.toml");
    std::fs::write(&file, "[limits]\nmax_tags = 1\n[[source]]\ntype = 'udp'\n[[sink]]\ntype = 'null'\n")
        .unwrap();
    let (code, _, err) = kaneda(&["parse", "-c", file.to_str().unwrap()], &[], "a:1|c|#x,y\n");
    assert_eq!(code, 1);
    assert!(err.contains("too_many_tags"), "{err}");
    assert_eq!(kaneda(&["parse"], &[], "a:1|c|#x,y\n").0, 0);
}

#[cfg(feature = "influxdb")]
#[test]
fn check_gives_the_line_of_what_a_store_refuses_of_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("k.toml");
    let text = "[[source]]\ntype = 'udp'\n[[sink]]\ntype = 'influxdb'\ndatabase = ''\n";
    std::fs::write(&file, text).unwrap();
    let (code, _, err) = kaneda(&["check", "-c", file.to_str().unwrap()], &[], "");
    assert_eq!(code, 2);
    let start = format!("{}:5: in [[sink]] influxdb: ", file.display());
    assert!(err.starts_with(&start), "{err}");
}

#[test]
fn check_says_what_a_good_configuration_has() {
    let (code, out, err) = kaneda(&["check"], &[("KANEDA_ADMIN_LISTEN", "127.0.0.1:9")], "");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("source udp (udp)") && out.contains("admin http://127.0.0.1:9\n"), "{out}");
}

#[cfg(all(feature = "zmq", feature = "influxdb"))]
#[test]
fn what_import_prints_passes_check_and_its_status_says_whether_something_is_to_be_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let settings = "from os import environ\nBACKEND = 'kaneda.backends.InfluxBackend'\nINFLUX_DATABASE = 'shop'\n\
                    INFLUX_USERNAME = 'u'\nINFLUX_PASSWORD = 'secret'\nZMQ_CONNECTION_URL = 'tcp://127.0.0.1:5555'\n";
    let (from, to) = (path("kanedasettings.py"), path("kaneda.toml"));
    std::fs::write(&from, settings).unwrap();
    let (code, out, err) = kaneda(&["import", &from], &[], "");
    assert_eq!(code, 0, "{err}");
    assert_eq!(err, format!("kaneda: {from}: passed over, no literals and no settings of Kaneda: line 1\n"));
    std::fs::write(&to, &out).unwrap();
    let (code, said, err) = kaneda(&["check", "-c", &to], &[], "");
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(said.contains("source zmq (zmq)\n  sink influxdb (influxdb)\n"), "{said}");

    std::fs::write(&from, format!("{settings}INFLUX_PASSWORD = environ['PW']\n")).unwrap();
    let (code, out, err) = kaneda(&["import", &from], &[], "");
    assert_eq!(code, 1);
    assert!(!out.contains("secret") && err.contains("KANEDA_SINK_INFLUXDB_PASSWORD"), "{out}{err}");
    std::fs::write(&from, format!("{settings}INFLUX_HOST = 'a b'\n")).unwrap();
    let (code, out, err) = kaneda(&["import", &from], &[], "");
    assert_eq!(code, 1);
    assert!(
        out.contains("host = \"a b\"") && err.contains("what is printed does not pass `kaneda check`"),
        "{err}"
    );
    std::fs::write(&to, &out).unwrap();
    let (code, _, said) = kaneda(&["check", "-c", &to], &[], "");
    assert!(code == 2 && err.ends_with(&said.replace(&to, "kaneda.toml")), "{err}{said}");

    std::fs::write(&from, b"# -*- coding: latin-1 -*-\nX = '\xe9'\n").unwrap();
    let (code, out, err) = kaneda(&["import", &from], &[], "");
    assert!((code, out.as_str()) == (2, "") && err.contains(&format!("{from}:2: ")), "{out}{err}");
    assert_eq!(kaneda(&["import", &path("none.py")], &[], "").0, 2);
}

#[test]
fn parse_ends_with_1_if_a_line_was_refused() {
    let (code, out, err) = kaneda(&["parse"], &[], "a:1|c\nb:x|c\n");
    assert_eq!(code, 1);
    assert_eq!(out, "{\"metric\":\"counter\",\"name\":\"a\",\"value\":1}\n");
    assert!(err.contains("\"code\":\"bad_number\""), "{err}");
    assert_eq!(kaneda(&["parse", "-"], &[], "a:1|c\n").0, 0);
    // The change that a sign is in this dialect is in the document.
    let (_, out, _) = kaneda(&["parse", "--dialect", "statsd"], &[], "a:-1|g\n");
    assert!(out.contains("\"delta\":true"), "{out}");
}

#[test]
fn wrong_usage_ends_with_2_and_help_with_0() {
    assert_eq!(kaneda(&["fly"], &[], "").0, 2);
    assert_eq!(kaneda(&["send"], &[], "").0, 2);
    let (code, out, _) = kaneda(&["--help"], &[], "");
    assert_eq!(code, 0);
    assert!(out.contains("Examples:") && out.contains("Exit status:"), "{out}");
    let (code, out, _) = kaneda(&["man", "check"], &[], "");
    assert!(code == 0 && out.contains(".TH kaneda-check"), "{out}");
    assert_eq!(kaneda(&["man", "fly"], &[], "").0, 2);
}

#[test]
fn health_of_nobody_ends_with_1() {
    // Bound and not listened at: nobody answers, and nobody else takes the port meanwhile.
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, out, err) = kaneda(&["health", "--url", &format!("http://{taken}/health")], &[], "");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with("kaneda: http://127.0.0.1:"), "{err}");
}
