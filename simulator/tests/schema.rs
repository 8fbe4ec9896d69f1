//! The schema in the repository is the one of the types.
//!
//! To write it anew: `BRICKPROOF_WRITE_SCHEMA=1 cargo test -p brickproof-simulator --test schema`.

use brickproof_simulator::trace::Record;

#[test]
fn trace_schema_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/trace.schema.json");
    let mut current = serde_json::to_string_pretty(&schemars::schema_for!(Record)).unwrap();
    current.push('\n');
    if std::env::var_os("BRICKPROOF_WRITE_SCHEMA").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(stored == current, "{path} differs from the types: write it anew and look at the change");
}
