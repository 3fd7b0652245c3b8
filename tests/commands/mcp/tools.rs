//! What the tools are, what they do and what they answer.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Client, REVISIONS, STATELESS};
use crate::commands::edit;
use crate::listener::{Harbour, Server};

/// The tools of a server, by name.
fn tools(client: &mut Client) -> BTreeMap<String, Value> {
    let listed = client.request("tools/list", json!({}))["result"].clone();
    let tools = listed["tools"].as_array().unwrap().iter();
    tools.map(|tool| (tool["name"].as_str().unwrap().to_owned(), tool.clone())).collect()
}

/// A client that checks every answer against what the tool promises.
struct Strict {
    client: Client,
    promised: BTreeMap<String, jsonschema::Validator>,
}

impl Strict {
    fn new(mut client: Client) -> Self {
        let promised = tools(&mut client).into_iter().map(|(name, tool)| {
            let schema = &tool["outputSchema"];
            let validator = jsonschema::options().should_validate_formats(true).build(schema);
            (name, validator.unwrap())
        });
        Self { promised: promised.collect(), client }
    }

    #[track_caller]
    fn succeeds(&mut self, tool: &str, arguments: Value) -> (Value, String) {
        let (document, text) = self.client.succeeds(tool, arguments);
        let errors: Vec<_> =
            self.promised[tool].iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{tool}: {errors:?}\n{document:#}");
        (document, text)
    }
}

#[test]
fn every_revision_is_spoken() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let latest = *REVISIONS.last().unwrap();
    let unknown = [(STATELESS, latest), ("2099-01-01", latest), ("1.0", latest)];
    for (asked, spoken) in REVISIONS.into_iter().map(|it| (it, it)).chain(unknown) {
        let mut client = Client::start(&world, &[]);
        let hello = client.hello(asked);
        assert_eq!(hello["protocolVersion"], spoken, "{asked}");
        assert_eq!(hello["serverInfo"]["name"], "hythe");
        assert_eq!(hello["serverInfo"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(hello["capabilities"], json!({ "tools": {} }), "nothing else is promised");
        let instructions = hello["instructions"].as_str().unwrap();
        assert!(instructions.contains("`reserve`") && instructions.len() < 1000, "{instructions}");
        assert_eq!(client.request("ping", json!({}))["result"], json!({}));
        assert_eq!(tools(&mut client).len(), 6);
        let (document, _) = client.succeeds("reserve", json!({ "directory": shop }));
        assert_eq!(document["services"][0]["reservation"]["service"], "main");
        assert!(client.end().1.success());
    }
}

/// What a request of a revision without a handshake brings along.
fn stateless(capabilities: Value, rest: Value) -> Value {
    let mut params = rest;
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientInfo": { "name": "test-client", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    });
    params
}

#[test]
fn the_revision_without_a_handshake_is_spoken() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let mut client = Client::start(&world, &[]);
    let found = client.request("server/discover", stateless(json!({}), json!({})));
    let versions = found["result"]["supportedVersions"].as_array().unwrap();
    assert!(versions.contains(&STATELESS.into()), "{found}");
    let listed = client.request("tools/list", stateless(json!({}), json!({})));
    assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), 6);

    let call = json!({ "name": "reserve", "arguments": { "services": ["web"] } });
    let answer = client.request("tools/call", stateless(json!({}), call.clone()));
    let (error, _) = super::failure(&answer["result"]);
    assert_eq!(error["code"], "usage", "who has no roots is not asked for them");

    let roots = json!({ "roots": {} });
    let asked = client.request("tools/call", stateless(roots.clone(), call.clone()));
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let requests = asked["result"]["inputRequests"].as_object().unwrap();
    let (name, request) = requests.iter().next().unwrap();
    assert_eq!((requests.len(), &request["method"]), (1, &"roots/list".into()));
    let mut again = call.clone();
    again["inputResponses"] =
        json!({ name: { "roots": [{ "uri": format!("file://{}", shop.display()) }] } });
    let answer = client.request("tools/call", stateless(roots.clone(), again))["result"].clone();
    assert_eq!(answer["resultType"], "complete", "{answer}");
    let port = answer["structuredContent"]["services"][0]["port"].as_u64().unwrap();
    assert_eq!(u64::from(world.run(&shop, ["get", "web"]).port()), port);

    let mut nonsense = call;
    nonsense["inputResponses"] = json!({ name: { "roots": "none" } });
    let answer = client.request("tools/call", stateless(roots, nonsense));
    assert!(super::failure(&answer["result"]).1.contains("roots cannot be read"), "{answer}");
    assert!(client.end().1.success());
}

#[test]
fn tools_are_described_for_models_and_for_programs() {
    let world = Harbour::new();
    let mut client = Client::new(&world);
    let tools = tools(&mut client);
    let names: Vec<_> = tools.keys().map(String::as_str).collect();
    assert_eq!(names, ["cleanup", "explain", "find", "list", "release", "reserve"]);
    for (name, tool) in &tools {
        assert!(tool["title"].is_string() && tool["description"].is_string(), "{name}");
        for schema in [&tool["inputSchema"], &tool["outputSchema"]] {
            assert!(jsonschema::meta::is_valid(schema), "{name}: {schema:#}");
            assert_eq!(
                (&schema["type"], &schema["additionalProperties"]),
                (&"object".into(), &false.into())
            );
            let text = schema.to_string();
            let references = text.split(r#""$ref":""#).skip(1);
            references.for_each(|rest| assert!(rest.starts_with("#/"), "{name}: {rest}"));
        }
        for (argument, schema) in tool["inputSchema"]["properties"].as_object().unwrap() {
            assert!(schema["description"].is_string(), "{name}: {argument}");
            assert!(schema.get("format").is_none(), "{name}: {argument}");
            if let Some(default) = schema.get("default") {
                assert!(jsonschema::is_valid(schema, default), "{name}: {argument}");
            }
        }
        let annotations = &tool["annotations"];
        let reads = ["explain", "find", "list"].contains(&&**name);
        let destroys = ["cleanup", "release"].contains(&&**name);
        assert_eq!(annotations["readOnlyHint"], reads, "{name}");
        assert_eq!(annotations["destructiveHint"], destroys, "{name}");
        assert_eq!(annotations["idempotentHint"], name != "reserve", "{name}");
        assert_eq!(annotations["openWorldHint"], false, "{name}");
    }
    assert!(client.end().1.success());
}

#[test]
fn every_tool_does_what_the_command_does() {
    let world = Harbour::new();
    let (shop, other) = (world.repository("shop"), world.repository("other"));
    let mut client = Strict::new(Client::new(&world));

    let both = json!({ "directory": shop, "services": ["web", "api"] });
    let mut dry = both.clone();
    dry["dry_run"] = true.into();
    let (document, text) = client.succeeds("reserve", dry);
    assert_eq!(document["dry_run"], true);
    assert!(text.starts_with("web: ") && text.contains(" (would be created)\napi: "), "{text}");
    world.run(&shop, ["get", "web"]).fails(7);

    let (document, text) = client.succeeds("reserve", both.clone());
    let web = world.run(&shop, ["get", "web"]).port();
    let api = world.run(&shop, ["get", "api"]).port();
    assert_eq!(document["services"][0]["port"], web);
    assert_eq!(document["services"][1]["port"], api);
    assert_eq!(text, format!("web: {web} (created)\napi: {api} (created)"));
    let (_, text) = client.succeeds("reserve", both);
    assert_eq!(text, format!("web: {web} (existing)\napi: {api} (existing)"));
    let shown = world.run(&shop, ["show", "web", "--json"]).json();
    assert_eq!(shown["reservation"]["agent"], "test-client", "what the client calls itself");
    let other_web = world.reserve(&other, &["web"]);

    // Notes are told as well: a preferred port that cannot be had.
    let prefer = json!({ "directory": shop, "services": ["db"], "prefer": [web] });
    let (document, text) = client.succeeds("reserve", prefer);
    let note = document["notes"][0].as_str().unwrap();
    assert!(text.contains(&format!("\nnote: {note}")) && note.contains(&web.to_string()), "{text}");

    let ports = |document: &Value| -> Vec<u64> {
        let found = document["reservations"].as_array().unwrap().iter();
        found.map(|reservation| reservation["port"].as_u64().unwrap()).collect()
    };
    let (document, text) = client.succeeds("find", json!({ "directory": shop, "service": "web" }));
    assert_eq!(ports(&document), [u64::from(web)]);
    let line = format!("web: {web} in {} (project shop, nobody listens)", shop.display());
    assert_eq!(text, line);
    let below = world.dir("shop/deep/down");
    let (document, _) = client.succeeds("find", json!({ "directory": below }));
    assert_eq!(ports(&document).len(), 3, "those of the checkout");
    let (document, _) = client.succeeds("find", json!({ "project": "other" }));
    assert_eq!(ports(&document), [u64::from(other_web)]);
    let (document, text) = client.succeeds("find", json!({ "directory": shop, "service": "no" }));
    assert_eq!((ports(&document), &*text), (vec![], "nothing is reserved"));
    let server = Server::start(&shop, "127.0.0.1", api);
    let (document, text) = client.succeeds("find", json!({ "port": api }));
    assert_eq!(document["listeners"][0]["pid"], server.pid());
    assert!(text.ends_with(", its server runs)"), "{text}");
    let (document, _) = client.succeeds("list", json!({}));
    assert_eq!(document["reservations"].as_array().unwrap().len(), 4);
    let (document, _) = client.succeeds("list", json!({ "below": other, "service": "web" }));
    assert_eq!(ports(&document), [u64::from(other_web)]);

    let (document, text) = client.succeeds("explain", json!({ "port": web }));
    assert_eq!(
        (&document["dry_run"], &document["services"][0]["port"]),
        (&true.into(), &web.into())
    );
    assert!(text.starts_with(&format!("web: {web} (existing)\n")), "{text}");
    assert!(text.contains("key policy path-sticky 1.0.0"), "{text}");
    let (document, text) =
        client.succeeds("explain", json!({ "directory": other, "service": "x" }));
    assert_eq!(document["services"][0]["outcome"], "created");
    assert!(text.contains("selection policy") && text.contains("(would be created)"), "{text}");
    world.run(&other, ["get", "x"]).fails(7);

    let (document, text) = client
        .succeeds("release", json!({ "directory": shop, "services": ["web"], "dry_run": true }));
    assert_eq!(document["released"][0]["port"], web);
    assert_eq!(text, format!("would release {web} (`web` of {})", shop.display()));
    let (_, text) = client.succeeds("release", json!({ "directory": shop, "port": web }));
    assert_eq!(text, format!("released {web} (`web` of {})", shop.display()));
    world.run(&shop, ["get", "web"]).fails(7);
    drop(server);
    client.succeeds("release", json!({ "directory": shop, "all": true }));

    let (_, text) = client.succeeds("cleanup", json!({}));
    assert_eq!(text, "nothing to release");
    edit(&world, "UPDATE reservation SET last_used_at = last_used_at - 400 * 86400000");
    let (_, text) = client.succeeds("cleanup", json!({ "older_than": "300d", "dry_run": true }));
    assert!(text.starts_with(&format!("would release {other_web} (`web` of ")), "{text}");
    assert!(world.run(&other, ["get", "web"]).port() == other_web);
    let (document, _) = client.succeeds("cleanup", json!({ "older_than": "300d" }));
    assert_eq!(document["released"][0]["port"], other_web);
    assert!(client.client.end().1.success());
}

#[test]
fn who_holds_a_port_is_told_although_it_is_not_reserved() {
    let world = Harbour::new();
    let mut client = Strict::new(Client::new(&world));
    let port = world.port(3);
    let (document, text) = client.succeeds("find", json!({ "port": port }));
    assert_eq!((&document["listeners"], &*text), (&json!([]), "nothing is reserved"));
    let server = Server::start(&world.dir("elsewhere"), "127.0.0.1", port);
    let (document, text) = client.succeeds("find", json!({ "port": port }));
    assert_eq!(document["listeners"][0]["pid"], server.pid());
    assert!(text.starts_with(&format!("port {port} is not reserved, and process ")), "{text}");
    let shop = world.repository("shop");
    let held = world.reserve(&shop, &[]);
    let _stranger = Server::start(&world.dir("elsewhere"), "127.0.0.1", held);
    let keep = json!({ "directory": shop, "on_conflict": "keep" });
    let (_, text) = client.succeeds("reserve", keep);
    assert!(text.contains("(existing), but somebody else's process holds it"), "{text}");
    let (_, text) = client.succeeds("reserve", json!({ "directory": shop, "on_conflict": "move" }));
    assert!(text.contains(" (moved)\nnote: "), "{text}");
}

#[test]
fn failures_are_read_by_models_and_have_a_code() {
    let world = Harbour::of_size(2);
    let shop = world.repository("shop");
    let mut client = Client::new(&world);
    let directory = json!(shop);
    for (tool, arguments, code, said) in [
        ("reserve", json!({ "directory": "shop" }), "usage", "is not an absolute path"),
        ("reserve", json!({ "directory": 1 }), "usage", "the argument `directory`: "),
        ("reserve", json!({ "directory": directory, "services": "web" }), "usage", "`services`"),
        (
            "reserve",
            json!({ "directory": directory, "services": ["no such"] }),
            "usage",
            "`services`",
        ),
        ("reserve", json!({ "directory": directory, "ports": [1] }), "usage", "`ports`"),
        ("reserve", json!({ "directory": directory, "prefer": [0] }), "usage", "`prefer`"),
        ("reserve", json!({ "directory": directory, "ttl": "soon" }), "usage", "`ttl`"),
        ("reserve", json!({ "directory": directory, "dry_run": "yes" }), "usage", "`dry_run`"),
        ("reserve", json!({ "directory": "/no/such/directory" }), "usage", "/no/such/directory"),
        (
            "reserve",
            json!({ "directory": directory, "services": ["a", "b", "c"] }),
            "no-free-port",
            "no free port",
        ),
        ("release", json!({ "directory": directory, "port": 1, "all": true }), "usage", "`port`"),
        ("release", json!({ "directory": directory, "services": ["x"] }), "not-found", "`x`"),
        ("find", json!({ "port": "http" }), "usage", "`port`"),
        ("list", json!({ "below": "x" }), "usage", "is not an absolute path"),
        ("explain", json!({ "port": 1 }), "not-found", "port 1 is not reserved"),
        ("explain", json!({ "port": 1, "directory": directory }), "usage", "`directory`"),
        ("cleanup", json!({ "policies": ["no"] }), "usage", "`no`"),
    ] {
        let (error, text) = client.fails(tool, arguments.clone());
        assert_eq!(error["code"], code, "{tool} {arguments}: {text}");
        assert!(text.contains(said), "{tool} {arguments}: {text}");
    }
    let port = world.reserve(&shop, &["web", "--lock"]);
    let (error, text) = client.fails("release", json!({ "directory": shop, "port": port }));
    assert!(error["code"] == "refused" && text.contains("it is locked"), "{text}");
    let other = world.repository("other");
    world.run(&shop, ["unlock", "web"]).ok();
    let elsewhere = json!({ "directory": other, "port": port });
    assert_eq!(client.fails("release", elsewhere.clone()).0["code"], "refused");
    let mut forced = elsewhere;
    forced["force"] = true.into();
    client.succeeds("release", forced);

    let unknown = client.request("tools/call", json!({ "name": "destroy", "arguments": {} }));
    assert_eq!(unknown["error"]["code"], -32602);
    assert_eq!(unknown["error"]["message"], "unknown tool: destroy");
    let unknown = client.request("resources/read", json!({ "uri": "file:///" }));
    assert_eq!(unknown["error"]["code"], -32601);

    world.configure("range = 1\n");
    let (error, _) = client.fails("reserve", json!({ "directory": shop }));
    assert_eq!(error["code"], "configuration");
    assert!(error["details"]["path"].as_str().unwrap().ends_with("config.toml"));
    assert!(client.end().1.success());
}

#[test]
fn a_name_cannot_pretend_to_be_a_line() {
    let world = Harbour::new();
    let odd = world.dir("shop\nweb: 1 (existing)");
    let mut client = Client::new(&world);
    client.succeeds("reserve", json!({ "directory": odd }));
    let (_, text) = client.succeeds("find", json!({ "directory": odd }));
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("shop\\nweb: 1"), "{text}");
}
