//! What people see of hosts while something is gone; and that looking leaves nothing behind.

use crate::versions::{NO_TRIAL, Swapped, hosts};

#[test]
fn looking_at_hosts_leaves_no_consumer_behind() {
    let setup = Swapped::new(NO_TRIAL);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 10);
    setup
        .weir("deploy swapped.toml versions {versions} --param label=1 --wait-trial=20")
        .ends_with(0);
    setup.weir("params set swapped.toml versions label=2").ends_with(0);
    let status = setup.weir("status").ends_with(0).stdout;
    assert!(status.contains("version 2"), "{status}");
    setup.weir("history swapped.toml versions").ends_with(0);
    assert_eq!(setup.client.consumer_names_of("KV_weir-hosts"), Vec::<String>::new());
    running.interrupt().ends_with(0);
}

#[test]
fn status_shows_what_runs_without_the_other_buckets() {
    for stream in ["KV_weir-deployments", "OBJ_weir-modules"] {
        let setup = Swapped::new(NO_TRIAL);
        let mut running = setup.start();
        setup.pass(&mut running, 1, 10);
        assert_eq!(hosts(&setup.registry()).len(), 1);
        setup.client.delete_stream(stream);
        let bucket = &stream[stream.find('_').map_or(0, |place| place + 1)..];
        let said = setup.weir("status").ends_with(0);
        assert!(said.stdout.contains("swapped at "), "{said:?}");
        assert!(
            said.stderr.contains(&format!("there is no bucket {bucket} at ")),
            "{said:?}"
        );
        running.interrupt().ends_with(0);
    }
}
