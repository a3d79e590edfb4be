//! What a change costs of rows of about 2.5 kB. PostgreSQL compresses rows of more than 2 kB when it writes them; the change tables do so for
//! larger rows only.

use super::{Kind, Sample, Variant, costs};
use crate::Scope;
use crate::report::{Figure, Table};
use crate::rounds;
use crate::server::Server;

/// What is compared: what nobody reads.
const KINDS: [Kind; 4] = [Kind::Plain, Kind::Minimal, Kind::Textbook, Kind::Unread];

/// Adds 1.5 kB of words to each row.
const ENLARGE: &str = "
    UPDATE oc_openregister_table_1_1 SET _summary = (SELECT string_agg((ARRAY['municipality', 'request', 'permit', 'street', 'house',
        'number', 'application', 'decision', 'citizen', 'date', 'received', 'document', 'attached', 'archive', 'description', 'status',
        'new', 'open', 'closed', 'by', 'the', 'of', 'and', 'with'])[1 + (hashint8(n * 1000 + _id) & 2147483647) % 24], ' ')
        FROM generate_series(1, 220) AS n)";

/// Measures it; afterwards the rows are large.
pub(super) async fn table(scope: Scope, server: &Server, variants: &mut Vec<Variant>) -> Table {
    variants.retain(|variant| KINDS.contains(&variant.kind));
    for variant in &mut *variants {
        let client = variant.database.connect().await;
        client.batch_execute(ENLARGE).await.unwrap();
        variant.empty().await;
    }
    let samples = costs(scope, server, variants).await;
    let extra = |place: usize| -> f64 {
        let pairs = samples[place].iter().zip(&samples[0]);
        rounds::median(pairs.map(|(one, plain): (&Sample, &Sample)| one.micros() - plain.micros()))
    };
    let row = |(place, kind): (usize, Kind)| {
        let own = &samples[place];
        let mut figures = vec![
            Figure::new(rounds::median(own.iter().map(Sample::micros)), 1),
            Figure::NONE,
            Figure::NONE,
            Figure::new(rounds::median(own.iter().map(Sample::wal_each)), 0),
        ];
        if kind != Kind::Plain {
            figures[1] = Figure::new(extra(place), 1);
            figures[2] = Figure::new(extra(place) / extra(1), 2);
        }
        (kind.name().to_owned(), figures)
    };
    Table {
        title: format!(
            "The same with rows of about 2.5 kB, medians of {} rounds: CPU time of the writer's session in µs a change, bytes of \
             write-ahead log a change",
            samples[0].len()
        ),
        columns: ["", "CPU", "extra", "extra, of the minimal trigger's", "WAL"]
            .map(str::to_owned)
            .into(),
        rows: KINDS.into_iter().enumerate().map(row).collect(),
    }
}
