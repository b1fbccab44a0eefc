//! Long lines, and the memory that connections lend each other for them.

use std::future::poll_fn;
use std::task::Poll;

use super::*;

#[tokio::test(start_paused = true)]
async fn long_lines_that_never_end_stop_no_short_ones_and_long_ones_only_for_a_while() {
    let (mut source, connect) = memory(Limits { line_buffer: 0, ..limits() });
    let start = Instant::now();
    let half = "x".repeat(3000);
    let mut stalled = connect();
    stalled.write_all(half.as_bytes()).await.unwrap();
    let mut long = connect();
    let sending = tokio::spawn(async move {
        long.write_all(format!("{half}\n").as_bytes()).await.unwrap();
        long
    });
    let mut short = connect();
    short.write_all(b"a\n!ping\n").await.unwrap();
    assert_eq!(answer(&mut short).await, "pong\n");
    source.expect(&["a"]).await;
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(source.event().await, Event::Gone);
    source.expect(&["x".repeat(3000).as_str()]).await;
    // In the time that is stopped while anything else can be done.
    assert_eq!(start.elapsed().as_secs(), 1);
    sending.await.unwrap();
    assert_eq!(source.counters.lines_cut.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_long_line_that_nobody_waits_behind_may_take_the_whole_stall_timeout() {
    let (mut source, connect) = memory(Limits { line_buffer: 0, ..limits() });
    let start = Instant::now();
    let mut stalled = connect();
    stalled.write_all("x".repeat(3000).as_bytes()).await.unwrap();
    assert_eq!(source.event().await, Event::Gone);
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_long_lines_each_whole_in_time_is_not_cut_and_keeps_its_loan_from_nobody() {
    let (mut source, connect) = memory_with(Limits { line_buffer: 0, ..limits() }, 1 << 16);
    let long = "x".repeat(3000);
    let mut stream = connect();
    stream.write_all(long.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    stream.write_all(format!("\n{long}").as_bytes()).await.unwrap();
    source.expect(&[&long]).await;
    let (mut other, others) = (connect(), "y".repeat(3000));
    other.write_all(format!("{others}\n").as_bytes()).await.unwrap();
    // Two thirds of the time of the second line; that of the first is over.
    tokio::time::sleep(Duration::from_millis(700)).await;
    stream.write_all(format!("\n{long}").as_bytes()).await.unwrap();
    source.expect(&[&long, &others]).await;
    stream.write_all(b"\n!ping\n").await.unwrap();
    assert_eq!(answer(&mut stream).await, "pong\n");
    source.expect(&[&long]).await;
    assert_eq!(source.counters.lines_cut.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_long_line_waits_a_second_at_most_behind_thousands_that_never_end() {
    let (mut source, connect) = memory(limits());
    let half = "x".repeat(3000);
    let mut stalled = Vec::new();
    for _ in 0..2000 {
        let (mut client, half) = (connect(), half.clone());
        stalled.push(tokio::spawn(async move {
            // Ends with an error when the connection is closed.
            let _ = client.write_all(half.as_bytes()).await;
            let _ = client.read_u8().await;
        }));
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    let start = Instant::now();
    let mut honest = connect();
    honest.write_all(format!("{half}\n!ping\n").as_bytes()).await.unwrap();
    assert_eq!(answer(&mut honest).await, "pong\n");
    assert!(start.elapsed() <= Duration::from_secs(1), "{:?}", start.elapsed());
    let taken = std::iter::from_fn(|| source.events.try_recv().ok());
    assert_eq!(taken.filter(|event| *event != Event::Gone).collect::<Vec<_>>(), [line(&half)]);
    for client in stalled {
        client.abort();
    }
}

#[tokio::test]
async fn a_loan_that_was_granted_to_nobody_is_not_lost() {
    let share = Share::new(Limits { line_buffer: 0, ..limits() });
    let held = share.loan().await;
    {
        let mut gone = Box::pin(share.loan());
        assert!(poll_fn(|cx| Poll::Ready(gone.as_mut().poll(cx).is_pending())).await);
        // Granted, and dropped before it was seen.
        drop(held);
    }
    let held = share.try_loan().unwrap();
    {
        let mut gone = Box::pin(share.loan());
        assert!(poll_fn(|cx| Poll::Ready(gone.as_mut().poll(cx).is_pending())).await);
    }
    drop(held);
    assert!(share.try_loan().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_connection_holds_memory_for_part_of_a_line_only() {
    let (events, _events) = mpsc::unbounded_channel();
    let open = Arc::new(Semaphore::new(1));
    let intake = Fake { events, flushes: open.clone(), syncs: open, open: 0, accepted: 0, rejected: 0 };
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let share = Share::new(limits());
    let context = Context { stop: CancellationToken::new(), counters: Arc::default() };
    let mut connection = Connection::new(server, intake, &share, &context);
    assert_eq!(connection.round().await, 0, "nothing came");
    client.write_all(b"line\nhalf").await.unwrap();
    assert!((1..=share::OWN_BYTES).contains(&connection.round().await));
    client.write_all(b" and half\n").await.unwrap();
    assert_eq!(connection.round().await, 0, "the line is whole");
    client.write_all("x".repeat(40_000).as_bytes()).await.unwrap();
    assert!((40_000..=limits().loan_bytes()).contains(&connection.round().await));
    client.write_all(b"\nhalf").await.unwrap();
    assert!((1..=share::OWN_BYTES).contains(&connection.round().await), "the loan is given back");
}
