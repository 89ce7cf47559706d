//! The scope table against the descriptors.

use std::collections::BTreeSet;

use earmark::auth::scope::RPCS;
use earmark::proto::DESCRIPTORS;
use prost::Message;
use prost_types::FileDescriptorSet;

#[test]
fn the_scope_table_has_exactly_one_row_per_rpc() {
    let descriptors = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
    let described: BTreeSet<String> = descriptors
        .file
        .iter()
        .flat_map(|file| {
            file.service.iter().flat_map(move |service| {
                service.method.iter().map(move |method| {
                    let (package, service) = (file.package(), service.name());
                    format!("/{package}.{service}/{}", method.name())
                })
            })
        })
        .collect();
    let rows: BTreeSet<String> = RPCS.iter().map(|rpc| rpc.path.to_owned()).collect();
    assert_eq!(rows, described);
    assert_eq!(rows.len(), RPCS.len(), "no RPC has two rows");
    for rpc in RPCS {
        assert!(!rpc.scopes.is_empty(), "{} needs a scope", rpc.path);
    }
}
