//! The console and the client that the binary carries, and what the console asks for.

use serde_json::json;
use tokencast::auth::key::{self, Digest};
use tokencast::auth::scope::Scopes;

use crate::gateway::{Gateway, config, over_http};
use crate::http::{Call, Over};
use crate::provider::Provider;

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_there_for_everybody_and_sent_again_when_it_has_changed() {
    let provider = Provider::start().await;
    over_http(async |protocol, journal| {
        let mut config = config(journal, &provider.base_url());
        config.auth.keys = vec![key::Config {
            name: "k".into(),
            sha256: Digest::of("key"),
            tenant: "t".into(),
            scopes: Scopes::ALL,
        }];
        let gateway = Gateway::start(config);
        for (path, content_type, has) in [
            ("/", "text/html; charset=utf-8", "<title>tokencast</title>"),
            ("/console.css", "text/css; charset=utf-8", ":root"),
            ("/console.js", "text/javascript; charset=utf-8", "./client.js"),
            ("/client.js", "text/javascript; charset=utf-8", "export{"),
        ] {
            let mut reply = Call::get(path).send(protocol, gateway.http).await;
            assert_eq!((reply.status, reply.header("content-type")), (200, Some(content_type)), "{path}");
            let policy = reply.header("content-security-policy");
            assert_eq!(policy.is_some_and(|policy| policy.contains("script-src 'self'")), path == "/");
            let tag = reply.header("etag").expect("a tag").to_owned();
            let (body, over) = reply.body.whole().await;
            assert!(over == Over::Clean && String::from_utf8(body).unwrap().contains(has), "{path}");
            for (known, status) in
                [(tag.clone(), 304), (format!("W/{tag}, \"x\""), 304), ("\"x\"".into(), 200)]
            {
                let call = Call::get(path).header("if-none-match", known);
                assert_eq!(call.send(protocol, gateway.http).await.status, status, "{path}");
            }
        }
        let asked = Call::get("/v1/providers");
        assert_eq!(asked.send(protocol, gateway.http).await.status, 401);
        let listed = asked.bearer("key").send(protocol, gateway.http).await.json().await;
        let wanted = json!({ "providers": [{ "name": "test", "dialect": "openai", "models": ["*"] }] });
        assert_eq!(listed, wanted);
    })
    .await;
}
