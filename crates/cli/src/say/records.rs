//! What is said of sheets and records.

use custodia_format::text::escape_untrusted;
use custodia_node::operations::{FieldShown, RecordShown, RecordsPage, Templates};

use super::{count_of, short};

/// Empty sheets.
pub(crate) fn templates(templates: &Templates) -> String {
    let folder = escape_untrusted(&templates.folder);
    format!(
        "[OK] {} in {folder}. Fill those that you need and delete the others; docs/spec/records.md says what fits each column.\n     \
         Next: custodia seal PATH --case CODE --records {folder} --dry-run\n",
        count_of(templates.sheets.len() as u64, "sheet"),
    )
}

/// Records of a package.
pub(crate) fn records(page: &RecordsPage) -> String {
    let counts = page.counts.iter().map(|(name, count)| format!("{count} {}", escape_untrusted(name)));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let records: String = page.records.iter().map(record).collect();
    let more = page.more_from.map_or_else(String::new, |from| format!("\n     There are more: --from {from}\n"));
    format!("[OK] {counts}\n{records}{more}")
}

/// Everything that is said of a code.
pub(crate) fn records_about(about: &[RecordShown]) -> String {
    about
        .iter()
        .map(|one| record(one) + &format!("     in package    {}, record {}\n", short(&one.package), one.number))
        .collect()
}

fn record(record: &RecordShown) -> String {
    let fields: String = record.fields.iter().map(field).collect();
    format!("\n{}  {}\n{fields}", escape_untrusted(&record.code), escape_untrusted(&record.record_type))
}

fn field(field: &FieldShown) -> String {
    let values = field.values.iter().map(|value| escape_untrusted(value)).collect::<Vec<_>>().join(" | ");
    format!("     {:<13} {values}\n", escape_untrusted(&field.name))
}
