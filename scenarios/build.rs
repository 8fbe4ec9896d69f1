//! A new file in these folders makes a new binary: `include_dir` alone does not notice it.

fn main() {
    for folder in ["apps", "initiators", "keys", "known", "requirements", "suites", "targets"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
