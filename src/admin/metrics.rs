//! The status as Prometheus reads it. All names of metrics stand here.

use metrics::{Key, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::status::{JournalState, Reasons, State, Status};

/// Turns statuses into text. It is its own recorder, not the process's: a library that records metrics of its own
/// does not write into ours.
pub(super) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// What each counter says, without `_total`, which the exporter does not add by itself.
const COUNTERS: &[(&str, &str)] = &[
    ("kaneda_lines_received_total", "Lines received by all sources"),
    ("kaneda_lines_accepted_total", "Lines that gave records"),
    ("kaneda_lines_skipped_total", "Blank and control lines"),
    ("kaneda_lines_rejected_total", "Lines that were refused, by reason"),
    ("kaneda_records_total", "Records parsed from the accepted lines"),
    ("kaneda_source_datagrams_total", "Datagrams received; for streams and HTTP, reads and requests"),
    ("kaneda_source_bytes_total", "Bytes received"),
    ("kaneda_source_kernel_drops_total", "Datagrams that the kernel dropped for want of room"),
    (
        "kaneda_source_kernel_drops_inherited_total",
        "Datagrams that inherited sockets had dropped before this start",
    ),
    ("kaneda_source_truncated_total", "Datagrams that were longer than max_datagram"),
    ("kaneda_sink_accepted_total", "Records that were meant for the sink"),
    ("kaneda_sink_delivered_total", "Records that the sink stored"),
    (
        "kaneda_sink_rejected_total",
        "Records that the sink refused for good, by reason; a reason is there once it was met",
    ),
    ("kaneda_sink_rejections_total", "The same, whatever the reason: there from the start, for alerts"),
    ("kaneda_sink_dropped_total", "Records that were lost before they reached the sink, by reason"),
    ("kaneda_source_connections_opened_total", "Connections taken"),
    (
        "kaneda_source_connections_refused_total",
        "Connections refused because max_connections were open, or because they do not speak ZeroMQ",
    ),
    (
        "kaneda_source_connections_idle_closed_total",
        "Connections closed because nothing came for idle_timeout, or not the rest of a long line for stall_timeout; for \
         HTTP, idle ones closed because max_connections were open",
    ),
    (
        "kaneda_admin_connections_refused_total",
        "Connections to the admin address refused: all 128 had requests in work",
    ),
    (
        "kaneda_admin_connections_idle_closed_total",
        "Idle connections to the admin address closed because 128 were open",
    ),
    (
        "kaneda_source_lines_cut_total",
        "Lines without an end when their connection was reset, idle or stopped",
    ),
    ("kaneda_source_messages_total", "Messages of the queue"),
    ("kaneda_source_messages_taken_total", "Messages that were taken"),
    ("kaneda_source_messages_known_total", "Messages delivered again, which were here before"),
    ("kaneda_source_messages_unread_total", "Messages that are no reports and became dead letters"),
    ("kaneda_source_messages_returned_total", "Messages for others, which went back to the queue"),
    ("kaneda_source_messages_expired_total", "Messages whose time was over"),
    (
        "kaneda_source_messages_restored_total",
        "Messages that nobody acknowledged and that went back to the queue",
    ),
    ("kaneda_source_messages_acknowledged_total", "Messages that the queue was told to forget"),
    ("kaneda_source_results_total", "Results of tasks that were written for those who wait for them"),
    ("kaneda_source_results_failed_total", "Results of tasks that could not be written"),
    ("kaneda_source_letters_failed_total", "Attempts to write the queue's dead letters that failed"),
    ("kaneda_lines_not_utf8_total", "Accepted lines with bytes that are not UTF-8"),
    ("kaneda_fields_ignored_total", "Unknown fields and members that were passed over"),
    ("kaneda_sink_batches_total", "Batches sent"),
    ("kaneda_sink_retries_total", "Batches that had to be sent again, whole or in part"),
    (
        "kaneda_sink_splits_total",
        "Batches that were split because the store refused them as a whole, or was too slow for them",
    ),
    ("kaneda_letters_replayed_total", "Dead letters handed in again"),
    ("kaneda_sink_letters_written_total", "Dead letters written"),
    ("kaneda_sink_letters_bytes_total", "Bytes of dead letters written"),
    ("kaneda_sink_letters_repeated_total", "Dead letters not written because the files had them already"),
    ("kaneda_sink_letters_deleted_total", "Dead letters deleted with the oldest file, for their bounds"),
    ("kaneda_sink_letters_failed_total", "Attempts to write dead letters that failed"),
    ("kaneda_sink_letters_lost_total", "Dead letters that could not be written before the end"),
    ("kaneda_sink_retention_age_deleted_total", "Rows deleted for their age"),
    ("kaneda_sink_retention_size_deleted_total", "Rows deleted because all take up too much space"),
    ("kaneda_sink_retention_failed_total", "Steps of retention that failed"),
    (
        "kaneda_sink_miscounts_total",
        "Times that the terms of the sink did not say what was found to wait: a bug",
    ),
    ("kaneda_journal_entries_total", "Entries written"),
    ("kaneda_journal_entry_bytes_total", "Bytes of entries written"),
    ("kaneda_journal_syncs_total", "Times that what was written was forced to disk"),
    ("kaneda_journal_failures_total", "Times that the disk failed, or had too little room"),
    ("kaneda_journal_entries_not_written_total", "Entries that are in memory only because the disk failed"),
    ("kaneda_journal_entries_carried_total", "Entries appended again so that their segment could be deleted"),
    ("kaneda_journal_corrupt_stretches_total", "Stretches of a segment that could not be read"),
    ("kaneda_journal_corrupt_bytes_total", "Bytes of a segment that could not be read"),
    ("kaneda_journal_entries_miscounted_total", "Entries that gave other records than when they came"),
    (
        "kaneda_journal_unread_segments_total",
        "Segments that the disk did not give at the start, or not to their end",
    ),
    ("kaneda_journal_torn_bytes_total", "Bytes of a torn end that were cut off at the start"),
    (
        "kaneda_journal_segments_removed_early_total",
        "Segments removed for their size or age before all was delivered",
    ),
    (
        "kaneda_journal_records_removed_of_orphans_total",
        "Records removed with those that no configured sink gets",
    ),
];

const GAUGES: &[(&str, &str)] = &[
    ("kaneda_build_info", "1, with the version as a label"),
    ("kaneda_uptime_seconds", "Seconds since the start"),
    ("kaneda_source_connections", "Connections open now"),
    ("kaneda_sink_waiting", "Records in the sink's ring, its backlog, in hand, and in the journal"),
    ("kaneda_sink_held_bytes", "Bytes of memory in the sink's ring, its backlog and in hand"),
    ("kaneda_sink_letters_waiting", "Dead letters that are not on disk yet; their records count as waiting"),
    ("kaneda_journal_up", "1 if the journal takes what comes, 0 while it is full or its disk fails"),
    ("kaneda_journal_bytes", "Bytes of all segments of the journal"),
    ("kaneda_journal_segments", "Segments of the journal"),
    ("kaneda_source_up", "1 while the broker of a queue answers, 0 while it is in trouble"),
    ("kaneda_sink_up", "1 if the sink's last batch was decided, 0 while it is in trouble"),
];

impl Metrics {
    pub(super) fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        for &(name, text) in COUNTERS {
            recorder.describe_counter(name.into(), Some(Unit::Count), SharedString::const_str(text));
        }
        for &(name, text) in GAUGES {
            recorder.describe_gauge(name.into(), None, SharedString::const_str(text));
        }
        let handle = recorder.handle();
        Metrics { recorder, handle }
    }

    /// The text of `status`.
    pub(super) fn render(&self, status: &Status) -> String {
        self.gauge("kaneda_build_info", &[("version", status.version)], 1);
        self.gauge("kaneda_uptime_seconds", &[], status.uptime_seconds);
        self.counter("kaneda_lines_received_total", &[], status.lines.received);
        self.counter("kaneda_lines_accepted_total", &[], status.lines.accepted);
        self.counter("kaneda_lines_skipped_total", &[], status.lines.skipped);
        self.reasons("kaneda_lines_rejected_total", &[], &status.lines.rejected);
        self.counter("kaneda_records_total", &[], status.records);
        self.counters("kaneda", &[], &status.counters);
        self.gauges("kaneda", &[], &status.gauges);
        if let Some(journal) = &status.journal {
            self.gauge("kaneda_journal_up", &[], u64::from(journal.state == JournalState::Ok));
            self.gauge("kaneda_journal_bytes", &[], journal.bytes);
            self.gauge("kaneda_journal_segments", &[], journal.segments);
            self.counters("kaneda_journal", &[], &journal.counters);
        }
        for source in &status.sources {
            let labels = [("source", source.name.as_str()), ("type", source.kind)];
            self.counter("kaneda_source_datagrams_total", &labels, source.datagrams);
            self.counter("kaneda_source_bytes_total", &labels, source.bytes);
            self.counter("kaneda_source_kernel_drops_total", &labels, source.kernel_drops);
            self.counter("kaneda_source_truncated_total", &labels, source.truncated);
            self.gauge("kaneda_source_connections", &labels, source.connections);
            if let Some(state) = source.state {
                self.gauge("kaneda_source_up", &labels, u64::from(state == State::Ok));
            }
            self.counters("kaneda_source", &labels, &source.counters);
        }
        for sink in &status.sinks {
            let labels = [("sink", sink.name.as_str()), ("type", sink.kind)];
            self.counter("kaneda_sink_accepted_total", &labels, sink.accepted);
            self.counter("kaneda_sink_delivered_total", &labels, sink.delivered);
            self.gauge("kaneda_sink_waiting", &labels, sink.waiting);
            self.gauge("kaneda_sink_up", &labels, u64::from(sink.state == State::Ok));
            self.reasons("kaneda_sink_rejected_total", &labels, &sink.rejected);
            self.counter("kaneda_sink_rejections_total", &labels, sink.rejected.values().sum());
            self.reasons("kaneda_sink_dropped_total", &labels, &sink.dropped);
            self.counters("kaneda_sink", &labels, &sink.counters);
            self.gauges("kaneda_sink", &labels, &sink.gauges);
        }
        self.handle.render()
    }

    /// One counter a reason, beside the labels of all.
    fn reasons(&self, name: &str, labels: &[(&str, &str)], reasons: &Reasons) {
        for (reason, count) in reasons {
            self.counter(name, &[labels, &[("reason", reason)]].concat(), *count);
        }
    }

    fn counters(&self, prefix: &str, labels: &[(&str, &str)], counters: &Reasons) {
        for (noun, count) in counters {
            let noun = noun.strip_suffix("_total").unwrap_or(noun);
            self.counter(&format!("{prefix}_{noun}_total"), labels, *count);
        }
    }

    fn gauges(&self, prefix: &str, labels: &[(&str, &str)], gauges: &Reasons) {
        for (noun, value) in gauges {
            self.gauge(&format!("{prefix}_{noun}"), labels, *value);
        }
    }

    fn counter(&self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.recorder.register_counter(&key(name, labels), &METADATA).absolute(value);
    }

    fn gauge(&self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.recorder.register_gauge(&key(name, labels), &METADATA).set(value as f64);
    }
}

fn key(name: &str, labels: &[(&str, &str)]) -> Key {
    let label = |(name, value): &(&str, &str)| Label::new((*name).to_owned(), (*value).to_owned());
    Key::from_parts(name.to_owned(), labels.iter().map(label).collect::<Vec<_>>())
}
