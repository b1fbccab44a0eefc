//! Pickles of both Pythons in every protocol, and hostile ones.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const LIMITS: Limits = Limits { json: 1 << 16, depth: 64 };

fn read(pickle: &[u8]) -> Result<String, Error> {
    let mut json = Vec::new();
    to_json(pickle, LIMITS, &mut json)?;
    Ok(String::from_utf8(json).unwrap())
}

/// What `tests/data/pickle/make.py` pickles; Python 2 keeps a dict in no order, and has no timezones.
fn expected(mixed_keys: &str, timezones: &str) -> String {
    let before = "[null,true,false,0,-1,255,65535,-129,2147483648,-9223372036854775808,18446744073709551616,\
        -1180591620717411303424,1.5,-0.0,1e22,2.5e-6,\"rég ☃ 😀 \\\"q\\\" \\\\ \\n\",\"plain\",[],[1],[1,2],[1,2,3],\
        [1,2,3,4],[],[[]],{},{\"a\":{\"b\":null}}";
    let behind = "{\"k\":[1]},{\"k\":[1]},[{\"k\":[1]},{\"k\":[1]}],\"2026-01-02T03:04:05.000678\",\
        \"2026-11-23T02:40:05.000007\",\"1999-12-31\",86402.3,-86400,1.50,1E+3,{\"a\":[1]},{\"z\":1,\"a\":2},[7],[8],[],\
        \"bytes\",\"AP8=\"";
    format!("{before},{{{mixed_keys}}},{behind}{timezones}]")
}

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/data/pickle/{name}.pickle", env!("CARGO_MANIFEST_DIR"));
    read(&std::fs::read(path).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_protocol_of_both_pythons_gives_the_same_json() {
    let expected_of_2 = expected(r#""2.5":"float","1":"int","null":"none","false":"false""#, "");
    for protocol in 0..=2 {
        assert_eq!(fixture(&format!("python2_protocol{protocol}")), expected_of_2, "{protocol}");
    }
    let expected_of_3 = expected(
        r#""1":"int","null":"none","2.5":"float","false":"false""#,
        r#","2026-01-02T03:04:05+00:00","2026-01-02T03:04:05-03:30","""#,
    );
    for protocol in 0..=5 {
        assert_eq!(fixture(&format!("python3_protocol{protocol}")), expected_of_3, "{protocol}");
    }
}

#[test]
fn a_name_that_is_not_on_the_list_ends_the_reading() {
    for (pickle, name) in [
        (&b"cos\nsystem\n(S'true'\ntR."[..], "os.system"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.", "posix.system"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "__builtin__.eval"),
        (b"cbuiltins\ngetattr\n.", "builtins.getattr"),
        // A name on the list, reached by another way.
        (b"\x80\x04\x8c\x08datetime\x8c\x12datetime.__class__\x93.", "datetime.datetime.__class__"),
        (b"ca\x1b[31m\nb\n.", "a?[31m.b"),
    ] {
        assert_eq!(read(pickle), Err(Error::Name(name.to_owned())));
    }
}

#[test]
fn what_data_does_not_need_is_no_operation() {
    for (pickle, operation) in [
        // BUILD of what has no state, INST, OBJ, NEWOBJ_EX, PERSID, BINPERSID, EXT1, NEXT_BUFFER, and one that does not exist.
        (&b"}}b."[..], b'b'),
        (b"(ios\nsystem\n.", b'i'),
        (b"(cdatetime\ndate\no.", b'o'),
        (b"cdatetime\ndate\n)}\x92.", 0x92),
        (b"P1\n.", b'P'),
        (b"NQ.", b'Q'),
        (b"\x82\x01.", 0x82),
        (b"\x97.", 0x97),
        (b"\xff.", 0xff),
    ] {
        assert_eq!(read(pickle), Err(Error::Operation(operation)));
    }
}

#[test]
fn what_is_broken_is_refused_by_what_is_wrong_with_it() {
    for (pickle, problem) in [
        (&b""[..], "it ends too early"),
        (b"N", "it ends too early"),
        (b"X\xff\xff\xff\xffa.", "it ends too early"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.", "it ends too early"),
        (b"I1", "it ends too early"),
        (b"T\xff\xff\xff\xff.", "a length is below 0"),
        (b"\x80\x06N.", "its protocol is not known"),
        (b".", "its stack is empty"),
        (b"(a.", "its stack is empty"),
        (b"NNN(\x87.", "its stack is empty"),
        (b"t.", "a mark is missing"),
        (b"h\x00.", "its memo has no such value"),
        (b"](Nd.", "a key has no value"),
        (b"}Na.", "something is put into what is no list"),
        (b"]NNs.", "something is put into what is no dict"),
        (b"N)R.", "something is called that is no name"),
        (b"NN\x93.", "a name is no text"),
        (b"Ix\n.", "a number is none"),
        (b"I--1\n.", "a number is none"),
        (b"F1.5.5\n.", "a number is none"),
        (b"Sabc\n.", "a text has no quotes"),
        (b"S'\\q'\n.", "a text has an escape that is none"),
        (b"V\\u00g0\n.", "a text has an escape that is none"),
        (b"V\\uffff\\U00110000\n.", "a text has an escape that is none"),
    ] {
        assert_eq!(read(pickle), Err(Error::Broken(problem)), "{:?}", pickle.escape_ascii().to_string());
    }
}

#[test]
fn arguments_that_do_not_fit_a_name_are_refused() {
    for (name, arguments) in [
        ("datetime\ndatetime", &b"(C\x0a\x07\xea\x0d\x01\x00\x00\x00\x00\x00\x00t"[..]),
        ("datetime\ndatetime", b"(C\x0a\x07\xea\x01\x01\x18\x00\x00\x00\x00\x00t"),
        ("datetime\ndatetime", b"(C\x0a\x07\xea\x01\x01\x00\x00\x00\xff\xff\xfft"),
        ("datetime\ndatetime", b"(C\x09\x07\xea\x01\x01\x00\x00\x00\x00\x00t"),
        ("datetime\ndate", b"(C\x04\x00\x00\x01\x01t"),
        ("datetime\ndate", b")"),
        ("datetime\ntimedelta", b"(K\x01t"),
        ("datetime\ntimezone", b"(K\x01t"),
        ("decimal\nDecimal", b"(X\x03\x00\x00\x001,5t"),
        ("collections\nOrderedDict", b"(](K\x01et"),
        ("collections\nCounter", b")"),
        ("collections\nCounter", b"(]t"),
        ("__builtin__\nset", b"(Nt"),
        ("_codecs\nencode", b"(X\x03\x00\x00\x00\xe2\x98\x83X\x06\x00\x00\x00latin1t"),
        ("__builtin__\ndict", b")"),
    ] {
        let pickle = [format!("c{name}\n").as_bytes(), arguments, b"R."].concat();
        let problem = "a name has arguments that do not fit it";
        assert_eq!(read(&pickle), Err(Error::Broken(problem)), "{name:?}");
    }
}

#[test]
fn a_counter_is_a_dict() {
    for pickle in [
        &b"ccollections\nCounter\n((dS'a'\nI2\nstR."[..],
        b"\x80\x02ccollections\nCounter\nq\x00}q\x01U\x01aq\x02K\x02s\x85q\x03Rq\x04.",
        b"\x80\x05\x8c\x0bcollections\x94\x8c\x07Counter\x94\x93\x94}\x94\x8c\x01a\x94K\x02s\x85\x94R\x94.",
    ] {
        assert_eq!(read(pickle).unwrap(), r#"{"a":2}"#);
    }
    // One of a thousand members, copied a thousand times.
    let members = [&b"}("[..], &b"K\x01N".repeat(1000), b"uq\x00"].concat();
    let copies = b"ccollections\nCounter\nh\x00\x85R0".repeat(1000);
    assert_eq!(read(&[&members[..], &copies, b"."].concat()), Err(Error::TooMany("operations")));
}

#[test]
fn a_uuid_is_its_text() {
    let of_2 = b"\x80\x02cuuid\nUUID\nq\x01)\x81q\x02}q\x03U\x03intq\x04K\x07sb.";
    assert_eq!(read(of_2).unwrap(), r#""00000000-0000-0000-0000-000000000007""#);
    // Of `uuid1()`, in protocol 4.
    let safe = b"\x80\x04\x8c\x04uuid\x94\x8c\x04UUID\x94\x93\x94)\x81\x94}\x94(\x8c\x03int\x94\x8a\x11\x9c\xd3\x60\x01\
        \x0e\x3d\x3c\xc6\xeb\x78\x11\xf1\x99\x77\x02\xfc\x00\x8c\x07is_safe\x94J\xff\xff\xff\xffub.";
    assert_eq!(read(safe).unwrap(), r#""fc027799-f111-78eb-c63c-3d0e0160d39c""#);
    for state in [&b"}"[..], b"}(K\x01K\x02u", b"}(U\x03intJ\xff\xff\xff\xffu", b"}(U\x03intNu"] {
        let pickle = [b"cuuid\nUUID\n)\x81", state, b"b."].concat();
        assert_eq!(read(&pickle), Err(Error::Broken("a UUID has no number")), "{state:?}");
    }
    assert_eq!(read(b"cuuid\nUUID\n)\x81."), Err(Error::Unwritable("a UUID without its number")));
    assert_eq!(read(b"cuuid\nUUID\n)\x81Nb."), Err(Error::Operation(b'b')));
    // A state of a thousand members, looked at a thousand times.
    let built = b"cuuid\nUUID\n)\x81h\x00b0".repeat(1000);
    let members = b"K\x01N".repeat(1000);
    let state = [&b"}("[..], &members, b"U\x03intK\x07uq\x00"].concat();
    assert_eq!(read(&[&state[..], &built, b"."].concat()), Err(Error::TooMany("operations")));
}

#[test]
fn a_number_that_is_not_finite_is_told_apart() {
    for pickle in [
        &b"G\x7f\xf8\x00\x00\x00\x00\x00\x00."[..],
        b"](G\x7f\xf0\x00\x00\x00\x00\x00\x00e.",
        b"F-inf\n.",
        b"cdecimal\nDecimal\n(X\x03\x00\x00\x00NaNtR.",
        b"cdecimal\nDecimal\n(X\x09\x00\x00\x00-InfinitytR.",
    ] {
        assert_eq!(read(pickle), Err(Error::NotFinite));
    }
}

#[test]
fn what_json_cannot_write_is_refused() {
    assert_eq!(read(b"}]Ns."), Err(Error::Unwritable("a list or dict as a key")));
    assert_eq!(read(b"cdatetime\ndate\n."), Err(Error::Unwritable("a class")));
    let zone = b"cdatetime\ntimezone\n(cdatetime\ntimedelta\n(K\x00K\x00K\x00tRtR.";
    assert_eq!(read(zone), Err(Error::Unwritable("a timezone")));
}

#[test]
fn nesting_stops_at_the_limit_and_a_list_that_holds_itself_there_too() {
    let nested = |depth| [b"]".repeat(depth), b"a".repeat(depth - 1), b".".to_vec()].concat();
    assert_eq!(read(&nested(64)).unwrap(), "[".repeat(64) + &"]".repeat(64));
    let too_deep = Err(Error::TooMany("levels of lists and dicts"));
    assert_eq!(read(&nested(65)), too_deep);
    assert_eq!(read(&nested(60_000)), too_deep);
    assert_eq!(read(b"]q\x00h\x00a."), too_deep);
}

#[test]
fn sharing_costs_no_more_than_the_limit_of_what_is_written() {
    // Each list holds the one before it ten times: a billion items.
    let mut pickle = b"]q\x00".to_vec();
    for level in 1..10u8 {
        pickle.extend([b"](".to_vec(), [b'h', level - 1].repeat(10), vec![b'e', b'q', level]].concat());
    }
    pickle.push(b'.');
    assert_eq!(read(&pickle), Err(Error::TooMany("bytes as JSON")));
}

#[test]
fn operations_are_bounded_and_copies_count_as_such() {
    let too_many = Err(Error::TooMany("operations"));
    assert_eq!(read(&[b"N0".repeat(MAX_OPERATIONS / 2), b"N.".to_vec()].concat()), too_many);
    // A set of a thousand items, made anew a thousand times.
    let set = b"c__builtin__\nset\nh\x00\x85R0".repeat(1000);
    let pickle = [b"](".to_vec(), b"N".repeat(1000), b"eq\x00".to_vec(), set, b".".to_vec()].concat();
    assert_eq!(read(&pickle), too_many);
    assert_eq!(read(b"Nr\xff\xff\xff\xff."), Err(Error::TooMany("values in its memo")));
}

#[test]
fn an_integer_is_exact_up_to_the_largest_double() {
    let long = |bytes: &[u8]| {
        let mut pickle = vec![0x8b];
        pickle.extend((bytes.len() as u32).to_le_bytes());
        read(&[&pickle, bytes, b"."].concat())
    };
    for number in [i128::MIN, i128::MIN + 1, -(1 << 64), -1, 0, 1 << 63, 10i128.pow(27), i128::MAX] {
        assert_eq!(long(&number.to_le_bytes()).unwrap(), number.to_string());
    }
    let largest = long(&[[0xff; 128].as_slice(), &[0]].concat()).unwrap();
    assert_eq!(largest.len(), 309);
    assert!(largest.starts_with("17976931348623159") && largest.ends_with("7215"));
    let too_many = Err(Error::TooMany("digits in a number"));
    assert_eq!(long(&[1; 130]), too_many);
    assert_eq!(read(format!("L{}L\n.", "1".repeat(311)).as_bytes()), too_many);
    assert_eq!(read(b"L-000123456789012345678901L\n.").unwrap(), "-123456789012345678901");
    assert_eq!(long(b"").unwrap(), "0");
}

/// Pickles `value` as CPython does with protocol 4, without a memo.
fn pickle(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(b'N'),
        Value::Bool(is_true) => out.push(if *is_true { 0x88 } else { 0x89 }),
        Value::Number(number) => match number.as_i64() {
            Some(int) => out.extend([&[0x8a, 8], &int.to_le_bytes()[..]].concat()),
            None => out.extend([b"G", &number.as_f64().unwrap().to_be_bytes()[..]].concat()),
        },
        Value::String(text) => {
            out.push(b'X');
            out.extend((text.len() as u32).to_le_bytes());
            out.extend(text.bytes());
        }
        Value::Array(items) => {
            out.extend(b"](");
            items.iter().for_each(|item| pickle(item, out));
            out.push(b'e');
        }
        Value::Object(members) => {
            out.extend(b"}(");
            for (key, value) in members {
                pickle(&json!(key), out);
                pickle(value, out);
            }
            out.push(b'u');
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Of few digits: serde_json reads others to the last bit only with a feature of its own.
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_pickled_reads_back(value in any_json()) {
        let mut bytes = b"\x80\x04".to_vec();
        pickle(&value, &mut bytes);
        bytes.push(b'.');
        let json = read(&bytes).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
    }

    #[test]
    fn any_bytes_give_json_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn a_pickle_with_bytes_changed_gives_json_or_an_error(
        file in prop::sample::select(vec!["python2_protocol0", "python2_protocol2", "python3_protocol0", "python3_protocol5"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let path = format!("{}/tests/data/pickle/{file}.pickle", env!("CARGO_MANIFEST_DIR"));
        let mut bytes = std::fs::read(path).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check(&bytes);
    }
}
