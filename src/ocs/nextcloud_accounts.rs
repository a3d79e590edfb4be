//! The accounts of Nextcloud: its own API decides who a caller is.
//!
//! Guarantees: a caller is let in for at most half a minute after Nextcloud last accepted the credentials; credentials that it
//! refused are sent there again every time; whoever is refused, or keeps Nextcloud busy, is slowed down by address; requests
//! that come at the same time with the same credentials cause one question to Nextcloud; credentials are kept as keyed hashes
//! only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};

use super::nextcloud_api::{self, Credentials, Identified, NextcloudWebhooks};
use super::session::{Denied, Digest};
use super::session_cache::{Clock, SessionCache};
use super::webhook_keys::SeenKeys;
use crate::proxy::Proxy;
use crate::random::{NoRandom, random};
use crate::registry::view::Keys;
use crate::shares::Shares;
use crate::throttle::Throttle;

/// How many questions Nextcloud is asked at the same time: so many about new callers, and as many about those whom it accepted
/// a moment ago.
const MOST_QUESTIONS: usize = 64;
/// How long a question may take, and how long while places are scarce.
const TIMEOUT: Duration = Duration::from_secs(30);
const SCARCE_TIMEOUT: Duration = Duration::from_secs(5);

type Question = Shared<BoxFuture<'static, Result<Identified, Denied>>>;

/// Identifies callers by asking Nextcloud.
#[derive(Debug)]
pub struct NextcloudAccounts {
    proxy: Arc<Proxy>,
    key: Digest,
    remembered: SessionCache,
    throttle: Throttle,
    asked: Mutex<HashMap<Digest, Question>>,
    places: Arc<Shares>,
    /// For callers whom Nextcloud accepted a moment ago: whoever guesses passwords cannot take their places.
    known_places: Arc<Shares>,
    keys: SeenKeys,
}

impl NextcloudAccounts {
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn new(proxy: Arc<Proxy>) -> Result<Self, NoRandom> {
        Self::with_clock(proxy, Arc::new(Instant::now))
    }

    /// The same with another clock.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn with_clock(proxy: Arc<Proxy>, clock: Clock) -> Result<Self, NoRandom> {
        Ok(Self {
            proxy,
            key: random()?,
            remembered: SessionCache::new(clock),
            throttle: Throttle::default(),
            asked: Mutex::default(),
            places: Shares::new(MOST_QUESTIONS),
            known_places: Shares::new(MOST_QUESTIONS),
            keys: SeenKeys::default(),
        })
    }

    pub(crate) const fn proxy(&self) -> &Arc<Proxy> {
        &self.proxy
    }

    /// Who the caller is: remembered, or asked for.
    ///
    /// # Errors
    /// [`Denied`].
    pub(crate) async fn identify(self: &Arc<Self>, credentials: &Credentials) -> Result<Identified, Denied> {
        let key = credentials.digest(&self.key);
        if let Some(session) = self.remembered.get(&key) {
            return Ok(Identified {
                session: Some(session),
                cookies: Vec::new(),
                webhooks: NextcloudWebhooks::Listed(Vec::new()),
            });
        }
        self.question(key, credentials)?.await
    }

    /// Who the caller is, and Nextcloud's own webhooks: always asked for.
    ///
    /// # Errors
    /// [`Denied`].
    pub(crate) async fn list(
        &self,
        credentials: &Credentials,
        uri: Option<&str>,
    ) -> Result<Identified, Denied> {
        let key = credentials.digest(&self.key);
        let charged = self.remembered.get(&key).is_none();
        if charged {
            self.charge(credentials)?;
        }
        let begun = self.remembered.now();
        if uri.is_none() {
            self.keys.is_to_be_asked(begun);
        }
        let places = if charged { &self.places } else { &self.known_places };
        let outcome = limited(
            places,
            credentials,
            nextcloud_api::list(&self.proxy, credentials, uri),
        )
        .await;
        self.conclude(key, credentials, &outcome, begun, charged);
        if let Ok(Identified {
            webhooks: NextcloudWebhooks::Listed(listed),
            ..
        }) = &outcome
        {
            self.keys.learn(listed);
        }
        outcome
    }

    /// Who the caller is: always asked for, whatever is remembered.
    ///
    /// # Errors
    /// [`Denied`].
    pub(crate) async fn confirm(&self, credentials: &Credentials) -> Result<Identified, Denied> {
        self.list(credentials, Some(nextcloud_api::NO_URI)).await
    }

    /// Which fields a webhook has in Nextcloud's answers to this caller, who may list them. Nextcloud is asked if nothing is known;
    /// a failure leaves it open.
    pub(crate) async fn webhook_keys(&self, credentials: &Credentials) -> Keys {
        if self.keys.is_to_be_asked(self.remembered.now()) {
            let _ = self.list(credentials, None).await;
        }
        self.keys.known().unwrap_or(Keys::Eleven)
    }

    /// Nextcloud has answered a request to register a webhook of its own.
    pub(crate) fn may_have_webhooks(&self) {
        self.keys.ask_again();
    }

    /// Forgets that Nextcloud accepted these credentials: it has refused them for something else.
    pub(crate) fn forget(&self, credentials: &Credentials) {
        self.remembered.forget(&credentials.digest(&self.key));
    }

    /// The question that is under way for these credentials, or a new one.
    fn question(self: &Arc<Self>, key: Digest, credentials: &Credentials) -> Result<Question, Denied> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(question) = asked.get(&key) {
            return Ok(question.clone());
        }
        self.charge(credentials)?;
        let (this, credentials) = (Arc::clone(self), credentials.clone());
        // A task of its own: it ends and is concluded even if the request that began it has gone.
        let task = tokio::spawn(async move {
            let begun = this.remembered.now();
            let _answered = Answered(Arc::clone(&this), key);
            let outcome = limited(
                &this.places,
                &credentials,
                nextcloud_api::caller(&this.proxy, &credentials),
            )
            .await;
            this.conclude(key, &credentials, &outcome, begun, true);
            outcome
        });
        let question = async move { task.await.unwrap_or(Err(Denied::Unavailable)) }
            .boxed()
            .shared();
        asked.insert(key, question.clone());
        Ok(question)
    }

    fn charge(&self, credentials: &Credentials) -> Result<(), Denied> {
        self.throttle
            .charge(credentials.client(), Instant::now())
            .map_err(|retry_after| Denied::TooMany { retry_after })
    }

    /// Remembers a caller who may manage webhooks, forgets one who may not, and refunds the attempt if the credentials were right.
    fn conclude(
        &self,
        key: Digest,
        credentials: &Credentials,
        outcome: &Result<Identified, Denied>,
        begun: Instant,
        charged: bool,
    ) {
        let session = outcome.as_ref().ok().and_then(|known| known.session.as_ref());
        match session {
            Some(session) if session.admin => self.remembered.put(key, session.clone(), begun),
            _ => self.remembered.forget(&key),
        }
        let wrong = match outcome {
            Ok(known) => known.session.is_none(),
            Err(Denied::Wrong | Denied::TooMany { .. }) => true,
            // Keeping Nextcloud busy costs as much as a wrong password.
            Err(Denied::Busy(_)) => return,
            Err(Denied::NoApiRequest | Denied::Unavailable | Denied::Away(_)) => false,
        };
        if wrong {
            tracing::warn!(client = %credentials.client(), "Nextcloud does not accept the caller's credentials");
        } else if charged {
            self.throttle.refund(credentials.client());
        }
    }
}

/// Asks in a bounded time and in one of the places, which one client's network cannot take from all others.
async fn limited(
    places: &Arc<Shares>,
    credentials: &Credentials,
    asking: impl Future<Output = Result<Identified, Denied>>,
) -> Result<Identified, Denied> {
    let Some(_place) = places.take(credentials.client()) else {
        return Err(Denied::Busy(
            "Too many callers are being checked with Nextcloud, in all or from your network",
        ));
    };
    let timeout = if places.scarce() { SCARCE_TIMEOUT } else { TIMEOUT };
    tokio::time::timeout(timeout, asking)
        .await
        .unwrap_or(Err(Denied::Busy(nextcloud_api::LATE)))
}

/// Removes a question from those under way when it ends, however it ends.
struct Answered(Arc<NextcloudAccounts>, Digest);

impl Drop for Answered {
    fn drop(&mut self) {
        let mut asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.remove(&self.1);
    }
}
