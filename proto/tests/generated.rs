//! The committed code is what the `.proto` files give.

use std::path::Path;

const FILES: [&str; 2] = ["proto/orrery/v1/cluster.proto", "proto/orrery/v1/scripts.proto"];

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = FILES.map(|file| root.join(file));
    let descriptors = protox::compile(&files, [root.join("proto")]).expect("the .proto files are valid");
    let out = std::env::temp_dir().join(format!("orrery-proto-{}", std::process::id()));
    std::fs::create_dir_all(&out).expect("a folder for the generated code");
    tonic_prost_build::configure().out_dir(&out).compile_fds(descriptors).expect("code can be generated");
    let made = std::fs::read_to_string(out.join("orrery.v1.rs")).expect("generated code");
    std::fs::remove_dir_all(&out).expect("the folder can go");
    let committed = root.join("src/generated/orrery.v1.rs");
    if std::env::var_os("ORRERY_REGENERATE").is_some() {
        std::fs::write(&committed, &made).expect("the generated code can be written");
    }
    let known = std::fs::read_to_string(&committed).expect("generated code is committed");
    assert!(known == made, "proto/src/generated is stale: run ORRERY_REGENERATE=1 cargo test -p orrery-proto");
}
