//! What a session does about what its client says.

use tokio::time::Instant;

use super::{HELLO_FIRST, IDLE_WITHIN, NUMBER_END, SUBSCRIPTIONS_MAX, Session};
use crate::auth::Credential;
use crate::cast::end::Why;
use crate::edge::cursor::Cursor;
use crate::edge::query::{Query, invalid};
use crate::edge::refusal::Refusal;
use crate::telemetry::{self, Listener};
use crate::view::events::Bye;
use crate::view::msgpack;
use crate::viewer::{HEARTBEAT_MS, HEARTBEAT_MS_DEFAULT};
use crate::webtransport::answers::Answers;
use crate::webtransport::codes::Code;
use crate::webtransport::control::{Reply, Request, Subscribe, Ticket};
use crate::webtransport::inbound::Heard;
use crate::webtransport::opening::{Ask, follow, heartbeat};
use crate::webtransport::pace::ACK_BYTES;
use crate::webtransport::subscription::{Opened, Subscription, Wishes, open_stream};

impl Session {
    pub(super) fn hear(&mut self, heard: Heard) -> Option<Code> {
        let request = match heard {
            Heard::Control(stream) => {
                self.answers = Some(Answers::new(stream));
                return None;
            }
            Heard::Bad(bad) if bad.code() == "unknown_message" && self.greeted => {
                self.refuse(&Refusal::bad_request(bad.code(), bad.to_string()), None);
                return None;
            }
            Heard::Bad(bad) => return Some(self.fail(bad.code(), bad.to_string())),
            Heard::Message(request) => request,
        };
        match request {
            Request::Hello { version } if version != u64::from(msgpack::VERSION) => {
                let message = format!("this gateway speaks version {}", msgpack::VERSION);
                return Some(self.fail("unsupported_version", message));
            }
            Request::Hello { .. } => {
                if !self.greeted && self.implicit.is_none() {
                    self.ends_at = Some(Instant::now() + IDLE_WITHIN);
                }
                self.greeted = true;
                self.say(&Reply::Welcome {
                    version: msgpack::VERSION,
                    subscriptions_max: SUBSCRIPTIONS_MAX,
                    ack_bytes: ACK_BYTES,
                    heartbeat_ms: HEARTBEAT_MS_DEFAULT,
                });
            }
            _ if !self.greeted => return Some(self.fail("hello_expected", HELLO_FIRST)),
            Request::Subscribe(subscribe) => {
                let number = subscribe.subscription;
                if let Err(refusal) = self.subscribe(subscribe) {
                    self.refuse(&refusal, Some(number));
                }
            }
            Request::Unsubscribe { subscription } => {
                if let Some(known) = self.known(subscription) {
                    known.wishes.leave = true;
                }
                self.grant_wishes(subscription);
            }
            Request::Ack { subscription, seq } => {
                // It may have ended meanwhile.
                if let Some(known) = self.known(subscription) {
                    known.acknowledged(seq);
                }
            }
            Request::Ping { t } => self.say(&Reply::Pong { t }),
            Request::Stop { subscription } => {
                if let Some(known) = self.known(subscription) {
                    known.wishes.stop = true;
                    self.grant_wishes(subscription);
                } else {
                    let message = "there is no such subscription: subscribe first";
                    self.refuse(&Refusal::bad_request("unknown_subscription", message), Some(subscription));
                }
            }
        }
        None
    }

    fn known(&mut self, subscription: u64) -> Option<&mut Subscription> {
        self.subscriptions.get_mut(&u32::try_from(subscription).ok()?)
    }

    /// Does what the client wants of a subscription, unless that has yet to come about.
    pub(super) fn grant_wishes(&mut self, subscription: impl Into<u64>) {
        let number = subscription.into();
        let Some(known) = self.known(number).filter(|known| !known.is_opening()) else { return };
        let Wishes { stop, leave } = std::mem::take(&mut known.wishes);
        let stopped = match known.stoppable.as_ref().filter(|_| stop) {
            Some((cast, grant)) => grant.stop().map(|()| cast.stop(Why::Stopped)),
            None => Ok(()),
        };
        if leave {
            known.leave(&Bye { code: "unsubscribed", retry_ms: 0 });
        }
        if let Err(refusal) = stopped {
            self.refuse(&refusal.into(), Some(number));
        }
    }

    /// Follows the stream that the session's URL names.
    pub(super) fn follow_one(&mut self, stream: String, query: &Query) {
        let asked = (|| {
            Ok(Ask {
                number: 0,
                stream,
                cursor: Cursor::read(query, None)?,
                snapshot: query.flag("snapshot")?,
                heartbeat: heartbeat(query.number("heartbeat_ms", HEARTBEAT_MS)?),
                credential: self.credential.clone(),
            })
        })();
        let (connection, edge) = (self.connection.clone(), self.around.edge.clone());
        let opening = async move {
            let followed = match asked {
                Ok(ask) => follow(&connection, &edge, ask).await,
                Err(refusal) => Err(refusal),
            };
            match followed {
                Ok(opened) => Ok(opened),
                Err(Refusal { code, message, detail, .. }) => {
                    telemetry::refused(Listener::WebTransport, code);
                    let head = msgpack::error(code, &message, detail.as_ref()).into();
                    Ok(Opened { stream: open_stream(&connection).await?, head, followed: None })
                }
            }
        };
        self.subscriptions.insert(0, Subscription::new(opening).last());
    }

    fn subscribe(&mut self, subscribe: Subscribe) -> Result<(), Refusal> {
        let Subscribe { subscription: number, stream, after, from, snapshot, heartbeat_ms, ticket } =
            subscribe;
        let number = u32::try_from(number).ok().filter(|number| *number < NUMBER_END);
        let number = number.ok_or_else(|| invalid("subscription", "write a number below 2^31"))?;
        if self.subscriptions.contains_key(&number) {
            let message = "this number is in use: choose another one";
            return Err(Refusal::bad_request("subscription_in_use", message));
        }
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            let message =
                format!("a session has at most {SUBSCRIPTIONS_MAX} subscriptions: open another one");
            return Err(Refusal::too_many_subscriptions(message));
        }
        let is_live = match from.as_deref() {
            None => false,
            Some("live") => true,
            Some(_) => return Err(Refusal::bad_request("invalid_cursor", "from: write `live`, or `after`")),
        };
        if heartbeat_ms.is_some_and(|ms| !HEARTBEAT_MS.contains(&ms)) {
            let (least, most) = (HEARTBEAT_MS.start(), HEARTBEAT_MS.end());
            return Err(invalid("heartbeat_ms", &format!("write a whole number from {least} to {most}")));
        }
        let credential = match ticket {
            Some(Ticket(ticket)) => Credential { ticket: Some(ticket), ..Credential::default() },
            None => self.credential.clone(),
        };
        let ask = Ask {
            number,
            stream,
            cursor: Cursor::new(after, is_live)?,
            snapshot: snapshot.unwrap_or_default(),
            heartbeat: heartbeat(heartbeat_ms),
            credential,
        };
        let (connection, edge) = (self.connection.clone(), self.around.edge.clone());
        let opening = async move { follow(&connection, &edge, ask).await };
        self.subscriptions.insert(number, Subscription::new(opening));
        Ok(())
    }

    pub(super) fn refuse(&mut self, refusal: &Refusal, subscription: Option<u64>) {
        let Refusal { code, message, detail, .. } = refusal;
        telemetry::refused(Listener::WebTransport, code);
        self.say(&Reply::Error { code, message, detail: detail.as_ref(), subscription });
    }

    /// Tells what the session does not survive.
    pub(super) fn fail(&mut self, code: &'static str, message: impl Into<String>) -> Code {
        self.refuse(&Refusal::bad_request(code, message), None);
        self.say(&Reply::Bye { code, retry_ms: 0 });
        Code::Protocol
    }

    /// Tells that it has followed nothing for too long, which is nothing bad.
    pub(super) fn idle(&mut self) -> Code {
        self.say(&Reply::Bye { code: "idle", retry_ms: 0 });
        Code::Done
    }

    pub(super) fn say(&mut self, reply: &Reply<'_>) {
        if let Some(answers) = &mut self.answers {
            answers.say(reply);
        }
    }
}
