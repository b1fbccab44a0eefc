//! What a test has to know of a store.

use kaneda::sink::Sink;

/// A store under test.
pub trait Subject: Sized {
    /// A new, empty store that takes everything.
    async fn start() -> Self;

    /// A sink that writes to it, as its config makes one.
    fn sink(&self) -> Box<dyn Sink>;

    /// From now on nothing can be stored.
    async fn fail(&mut self);

    /// From now on everything can be stored again.
    async fn heal(&mut self);

    /// Makes the store refuse the report `refused:1|c` for good, and no other.
    async fn refuse(&mut self);

    /// The names of the reports that are stored, one a report, in any order. A name may be printed in the store's own
    /// way if it is none of letters, digits, `.` and `_`.
    async fn names(&self) -> Vec<String>;

    /// The text of the value of the only report with this name.
    async fn value(&self, name: &str) -> String;

    /// What must never be seen in a log or a last error, if there is such a thing.
    fn secret(&self) -> Option<&str> {
        None
    }

    /// Why the law of this name is not for this store.
    fn excuse(_law: &str) -> Option<&'static str> {
        None
    }
}

/// One test for each law.
macro_rules! complies {
    ($subject:ty) => {
        $crate::subject::complies!($subject:
            every_report_is_delivered_once
            an_outage_is_waited_for
            a_lost_reply_makes_no_duplicate
            a_refused_report_takes_no_neighbour_along
            odd_reports_are_stored_or_rejected_alone
            a_repeated_client_id_replaces
            a_shutdown_ends_at_its_deadline
            no_secret_is_logged
        );
    };
    ($subject:ty: $($law:ident)*) => {
        $(
            #[tokio::test]
            async fn $law() {
                use $crate::subject::Subject;
                match <$subject>::excuse(stringify!($law)) {
                    Some(why) => println!("does not apply: {why}"),
                    None => $crate::laws::$law::<$subject>().await,
                }
            }
        )*
    };
}
pub(crate) use complies;
