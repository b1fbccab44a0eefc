//! Frames as a broker sends them, whole and in pieces, and hostile ones.

use amq_protocol::frame::parse_frame;
use proptest::prelude::*;

use super::*;

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let size = (payload.len() as u32).to_be_bytes();
    [&[kind, 0, 1], &size[..], payload, &[0xCE]].concat()
}

fn text(text: &[u8]) -> Vec<u8> {
    [&[text.len() as u8], text].concat()
}

fn table(entries: &[u8]) -> Vec<u8> {
    [&(entries.len() as u32).to_be_bytes()[..], entries].concat()
}

fn header(body: u64, flags: u16, properties: &[Vec<u8>]) -> Vec<u8> {
    let fixed = [&[0, 60, 0, 0], &body.to_be_bytes()[..], &flags.to_be_bytes()].concat();
    frame(HEADER_FRAME, &[fixed, properties.concat()].concat())
}

/// So many arrays within each other, in a table.
fn nested(levels: usize) -> Vec<u8> {
    let mut value = b"V".to_vec();
    for _ in 0..levels {
        value = [b"A".to_vec(), table(&value)].concat();
    }
    table(&[text(b"task"), value].concat())
}

fn passed(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    Sieve::new(10).pass(bytes, &mut out).map(|()| out)
}

#[test]
fn what_matters_of_a_header_is_passed_on() {
    let headers = table(&[text(b"task"), b"S".to_vec(), table(b"a.b")].concat());
    let (kind, id) = (text(b"application/json"), text(b"c-1"));
    let all = [kind.clone(), text(b"utf-8"), headers.clone(), vec![2], vec![0], id.clone(), text(b"reply")];
    let flags = 0b1111_1110_0000_0000;
    let kept = header(3, CONTENT_TYPE | HEADERS | CORRELATION_ID, &[kind, headers, id]);
    assert_eq!(passed(&header(3, flags, &all)), Ok(kept));
}

#[test]
fn of_the_headers_those_are_passed_on_that_matter_and_no_more_of_them_than_is_read() {
    let entry = |name: &[u8], kind: u8, value: &[u8]| [&text(name)[..], &[kind], &table(value)].concat();
    let long = vec![b'x'; LONGEST_HEADER + 2];
    let sent = [
        entry(b"argsrepr", b'S', b"('users', 'gauge')"),
        entry(b"task", b'S', &long),
        entry(b"stamps", b'F', &entry(b"task", b'S', b"inner")),
        b"\x0dignore_resultt\x01".to_vec(),
        entry(b"eta", b'A', b"VV"),
        b"\x07expiresV".to_vec(),
        entry(b"\xff\xff", b'S', b"no text"),
        entry(b"id", b'S', b"b-7"),
    ];
    let kept = [
        entry(b"task", b'S', &long[..LONGEST_HEADER + 1]),
        b"\x0dignore_resultt\x01".to_vec(),
        entry(b"eta", b'A', b""),
        b"\x07expiresV".to_vec(),
        entry(b"id", b'S', b"b-7"),
    ];
    let of = |entries: &[Vec<u8>]| header(0, HEADERS, &[table(&entries.concat())]);
    assert_eq!(passed(&of(&sent)), Ok(of(&kept)));
}

#[test]
fn a_header_that_would_end_the_process_or_the_connection_is_left_out() {
    let deep = header(0, HEADERS, &[nested(20_000)]);
    assert_eq!(passed(&deep), Ok(header(0, HEADERS, &[table(b"\x04taskA\0\0\0\0")])));
    for entries in [&b"\x01a?"[..], b"\x05a", b"\x01aS\xff\xff\xff\xff", b"\x01aS\0\0", b"\x01aI\0", b"\x01a"]
    {
        assert_eq!(passed(&header(0, HEADERS, &[table(entries)])), Ok(header(0, 0, &[])), "{entries:?}");
    }
    let no_text = header(0, CORRELATION_ID, &[text(b"\xff")]);
    assert_eq!(passed(&no_text), Ok(header(0, 0, &[])));
}

#[test]
fn of_a_body_no_more_is_passed_on_than_it_may_have() {
    let sent = [header(15, 0, &[]), frame(3, b"12345678"), frame(3, b"90123"), frame(3, b"45")].concat();
    let left = [header(10, 0, &[]), frame(3, b"12345678"), frame(3, b"90")].concat();
    let next = [header(2, 0, &[]), frame(3, b"ab"), frame(8, b"")].concat();
    assert_eq!(passed(&[sent, next.clone()].concat()), Ok([left, next].concat()));
}

#[test]
fn what_is_no_amqp_is_malformed() {
    let too_long = [&[1, 0, 0][..], &(MOST_FRAME + 1).to_be_bytes()].concat();
    for bytes in [&b"AMQP\x00\x00\x09\x01"[..], b"HTTP/1.1 400", &too_long] {
        assert_eq!(passed(bytes), Err(Malformed), "{}", bytes.escape_ascii());
    }
    // It says that there is a table, and there is none.
    assert_eq!(passed(&header(0, HEADERS, &[])), Err(Malformed));
    assert_eq!(passed(&frame(HEADER_FRAME, b"short")), Err(Malformed));
    // Messages are announced, and none comes.
    let announced = frame(METHOD_FRAME, b"").repeat(MOST_METHODS as usize);
    let one_more = [&announced[..], &frame(METHOD_FRAME, b"")].concat();
    assert_eq!(passed(&one_more), Err(Malformed));
    assert!(passed(&[announced.clone(), header(0, 0, &[]), announced].concat()).is_ok());
}

proptest! {
    #[test]
    fn however_it_is_cut_it_is_the_same(piece in any::<u8>(), most in any::<u8>(), broken in prop::option::of((0..200usize, any::<u8>()))) {
        let headers = table(&[text(b"task"), b"S".to_vec(), table(b"a.b")].concat());
        let all = [
            vec![most, piece],
            frame(1, b"method"),
            header(15, HEADERS, &[headers]),
            frame(3, b"123456789012345"),
            frame(8, b""),
        ];
        let mut all = all.concat();
        if let Some((at, byte)) = broken
            && let Some(place) = all.get_mut(2 + at)
        {
            *place = byte;
        }
        check(&all);
    }

    #[test]
    fn the_library_reads_every_header_that_is_passed_on(
        flags in any::<u16>(),
        properties in prop::collection::vec(any::<u8>(), 0..80),
        pieces in prop::collection::vec(
            prop::sample::select(vec![&b"\x02id"[..], b"\x03eta", b"t\x01", b"b\x80", b"B\x80", b"s\0\x01", b"U\0\x01", b"u\0\x01",
                b"I\0\0\0\x01", b"i\0\0\0\x01", b"f\x7f\xff\xff\xff", b"D\x01\0\0\0\x02", b"L\0\0\0\0\0\0\0\x01", b"l\0\0\0\0\0\0\0\x01",
                b"d\x7f\xff\xff\xff\xff\xff\xff\xff", b"x\0\0\0\x01\xff", b"S\0\0\0\x01x", b"A\0\0\0\x02V", b"F\0\0\0\x05\x01bt\x01", b"V", b"T\0\0\0\0\0\0\0\0"]),
            0..12,
        ),
        is_table in any::<bool>(),
    ) {
        let sent = if is_table {
            header(5, HEADERS, &[table(&pieces.concat())])
        } else {
            header(5, flags, &[properties])
        };
        if let Ok(out) = passed(&sent) {
            let read = parse_frame(&out[..]);
            prop_assert!(read.is_ok_and(|(rest, _)| rest.is_empty()), "{}", out.escape_ascii());
        }
    }
}
