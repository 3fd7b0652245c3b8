//! The directory that a call works for is never guessed.

use serde_json::json;

use super::Client;
use crate::listener::Harbour;

#[test]
fn a_directory_is_named_or_given_or_the_only_root() {
    let world = Harbour::new();
    let (shop, given, named) =
        (world.repository("shop"), world.repository("given"), world.repository("named"));
    let of = |document: &serde_json::Value| {
        document["services"][0]["reservation"]["directory"].as_str().unwrap().to_owned()
    };

    let mut client = Client::with_roots(&world, &[], Some(&[&shop]));
    assert_eq!(of(&client.succeeds("reserve", json!({})).0), shop.display().to_string());
    assert_eq!(client.asked, 1);
    let (document, _) = client.succeeds("reserve", json!({ "directory": named }));
    assert_eq!((of(&document), client.asked), (named.display().to_string(), 1));
    client.succeeds("find", json!({}));
    client.succeeds("explain", json!({}));
    client.succeeds("release", json!({}));
    assert_eq!(client.asked, 4);
    client.succeeds("list", json!({}));
    client.succeeds("cleanup", json!({ "dry_run": true }));
    client.succeeds("find", json!({ "project": "shop" }));
    client.succeeds("find", json!({ "port": 1 }));
    assert_eq!(client.asked, 4, "these are about the machine");
    assert!(client.end().1.success());

    let arguments = ["-C", given.to_str().unwrap()];
    let mut client = Client::with_roots(&world, &arguments, Some(&[&shop]));
    assert_eq!(of(&client.succeeds("reserve", json!({})).0), given.display().to_string());
    let (document, _) = client.succeeds("reserve", json!({ "directory": named }));
    assert_eq!((of(&document), client.asked), (named.display().to_string(), 0));
}

#[test]
fn what_is_not_clear_is_asked_for_and_never_guessed() {
    let world = Harbour::new();
    let (shop, other) = (world.repository("shop"), world.repository("other"));
    let fails = |client: &mut Client, said: &str| {
        for tool in ["reserve", "release", "find", "explain"] {
            let (error, text) = client.fails(tool, json!({}));
            assert_eq!(error["code"], "usage");
            assert!(text.contains(said) && text.contains(r#""directory": "/"#), "{tool}: {text}");
        }
    };
    // The server's own directory is a repository, and means nothing.
    let mut client = Client::start_in(&world, &shop, &[]);
    client.hello("2025-06-18");
    fails(&mut client, "this client has no roots");

    let mut client = Client::with_roots(&world, &[], Some(&[]));
    fails(&mut client, "no root of the client's is one");
    let mut client = Client::with_roots(&world, &[], Some(&[&shop, &other]));
    fails(&mut client, &format!("has 2 roots: {}, {}", other.display(), shop.display()));
    client.roots = Some(vec!["https://example.invalid/".to_owned()]);
    fails(&mut client, "no root of the client's is one");
    assert!(!world.state().exists());

    // Roots that change are asked for again, and a name may need decoding.
    let odd = world.dir("näh &100%");
    let encoded = format!("file://{}/n%C3%A4h%20&100%25/", world.root().display());
    client.roots = Some(vec![encoded]);
    client.say(&json!({ "jsonrpc": "2.0", "method": "notifications/roots/list_changed" }));
    let (document, _) = client.succeeds("reserve", json!({}));
    let directory = &document["services"][0]["reservation"]["directory"];
    assert_eq!(directory, &odd.display().to_string());
    client.roots = Some(vec![format!("file://{}", shop.display())]);
    let (document, _) = client.succeeds("reserve", json!({}));
    let directory = &document["services"][0]["reservation"]["directory"];
    assert_eq!(directory, &shop.display().to_string());
}

#[test]
fn a_client_that_refuses_to_name_its_roots_is_told_what_to_do() {
    let world = Harbour::new();
    let mut client = Client::with_roots(&world, &[], Some(&[]));
    let call = client.ask("tools/call", json!({ "name": "reserve" }));
    let asked = client.hear().unwrap();
    assert_eq!(asked["method"], "roots/list");
    let refusal = json!({ "code": -32603, "message": "no window is open" });
    client.say(&json!({ "jsonrpc": "2.0", "id": asked["id"], "error": refusal }));
    let answer = client.answer();
    assert_eq!(answer["id"], call);
    let (_, text) = super::failure(&answer["result"]);
    assert!(text.contains("does not name its roots: ") && text.contains("no window"), "{text}");
    // One that goes away meanwhile is not waited for.
    client.ask("tools/call", json!({ "name": "reserve" }));
    assert_eq!(client.hear().unwrap()["method"], "roots/list");
    let begun = std::time::Instant::now();
    assert!(client.end().1.success());
    assert!(begun.elapsed() < std::time::Duration::from_secs(3), "{:?}", begun.elapsed());
}
