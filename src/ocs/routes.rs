//! The routes of the API, each with its handler. The OpenAPI document is checked against this list.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper::Method;

use super::handlers::context::{Call, Context};
use super::handlers::error::Answer;
use super::handlers::{about, deliveries, jobs, registrations, webhooks};

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Anyone,
    LoggedIn,
    Admin,
}

/// Who answers a route if the sidecar runs in front of Nextcloud. On its own, it answers every route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnsweredBy {
    /// We do: Nextcloud does not know the route.
    Us,
    /// Nextcloud does.
    Nextcloud,
    /// We do if the id in the path is one of ours.
    ById,
    /// We do if the event in the body is one of OpenRegister's.
    ByEvent,
    /// The id and the event decide; a request in which they contradict each other is refused.
    ByIdAndEvent,
    /// Both do: the answer lists our webhooks and Nextcloud's.
    MergedList,
    /// Both do: an app's webhooks are deleted on both sides.
    MergedDelete,
}

/// Answers a call.
pub(crate) type Handler = for<'a> fn(&'a Context, Call) -> BoxFuture<'a, Answer>;

/// A route below `/ocs/v1.php` or `/ocs/v2.php`.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) answered_by: AnsweredBy,
    /// Also below `/ocs/v1.php`.
    pub(crate) v1: bool,
    pub(crate) handler: Handler,
}

impl Route {
    /// Whether the answer shows webhooks as Nextcloud's own API does.
    pub(crate) fn shows_webhook(&self) -> bool {
        match self.answered_by {
            AnsweredBy::ById => self.method == Method::GET,
            AnsweredBy::ByEvent | AnsweredBy::ByIdAndEvent | AnsweredBy::MergedList => true,
            AnsweredBy::Us | AnsweredBy::Nextcloud | AnsweredBy::MergedDelete => false,
        }
    }
}

/// A route of Nextcloud's, in both versions; and, as in `own`, the handler with what it is given of the call.
macro_rules! nextcloud {
    ($method:ident, $path:literal, $access:ident, $answered_by:ident, |$context:ident, $call:ident| $answer:expr) => {
        Route {
            method: Method::$method,
            path: $path,
            access: Access::$access,
            answered_by: AnsweredBy::$answered_by,
            v1: true,
            handler: |$context, $call| async move { $answer.await }.boxed(),
        }
    };
}

/// A route of our own, for administrators.
macro_rules! own {
    ($method:ident, $path:literal, |$context:ident, $call:ident| $answer:expr) => {
        Route {
            method: Method::$method,
            path: concat!("/apps/openregister_webhooks/api/v1", $path),
            access: Access::Admin,
            answered_by: AnsweredBy::Us,
            v1: false,
            handler: |$context, $call| async move { $answer.await }.boxed(),
        }
    };
}

/// Every route.
pub(crate) const ROUTES: [Route; 31] = [
    nextcloud!(
        GET,
        "/apps/webhook_listeners/api/v1/webhooks",
        Admin,
        MergedList,
        |context, call| registrations::list(context, call)
    ),
    nextcloud!(
        POST,
        "/apps/webhook_listeners/api/v1/webhooks",
        Admin,
        ByEvent,
        |context, call| registrations::create(context, &call)
    ),
    nextcloud!(
        GET,
        "/apps/webhook_listeners/api/v1/webhooks/{id}",
        Admin,
        ById,
        |context, call| registrations::show(context, &call)
    ),
    nextcloud!(
        POST,
        "/apps/webhook_listeners/api/v1/webhooks/{id}",
        Admin,
        ByIdAndEvent,
        |context, call| registrations::update(context, &call)
    ),
    nextcloud!(
        DELETE,
        "/apps/webhook_listeners/api/v1/webhooks/{id}",
        Admin,
        ById,
        |context, call| registrations::delete(context, &call)
    ),
    nextcloud!(
        DELETE,
        "/apps/webhook_listeners/api/v1/webhooks/byappid/{appid}",
        Admin,
        MergedDelete,
        |context, call| registrations::delete_by_app(context, &call)
    ),
    nextcloud!(GET, "/cloud/user", LoggedIn, Nextcloud, |_context, call| {
        about::user(call.session.as_ref())
    }),
    nextcloud!(
        GET,
        "/cloud/capabilities",
        Anyone,
        Nextcloud,
        |_context, _call| about::capabilities()
    ),
    own!(GET, "/webhooks", |context, _call| webhooks::list(context)),
    own!(GET, "/webhooks/{id}", |context, call| webhooks::show(
        context,
        call.id()
    )),
    own!(POST, "/webhooks/{id}/enable", |context, call| webhooks::enable(
        context, &call
    )),
    own!(POST, "/webhooks/{id}/disable", |context, call| webhooks::disable(
        context, &call
    )),
    own!(POST, "/webhooks/{id}/pause", |context, call| webhooks::pause(
        context, &call
    )),
    own!(POST, "/webhooks/{id}/resume", |context, call| webhooks::enable(
        context, &call
    )),
    own!(POST, "/webhooks/{id}/secret", |context, call| {
        webhooks::rotate_secret(context, &call)
    }),
    own!(GET, "/events", |_context, _call| about::events()),
    own!(GET, "/audit", |context, call| webhooks::audit(
        context,
        call.list_query()?
    )),
    own!(GET, "/openapi.json", |_context, _call| about::openapi()),
    own!(GET, "/deliveries", |context, call| deliveries::list(
        context.deliveries()?,
        call.delivery_query()?
    )),
    own!(POST, "/deliveries/retry", |context, call| {
        deliveries::retry_matching(context, context.deliveries()?, &call)
    }),
    own!(GET, "/deliveries/{id}", |context, call| deliveries::show(
        context.deliveries()?,
        call.id()
    )),
    own!(POST, "/deliveries/{id}/retry", |context, call| deliveries::retry(
        context,
        context.deliveries()?,
        &call
    )),
    own!(POST, "/webhooks/{id}/retry", |context, call| {
        deliveries::retry_webhook(context, context.deliveries()?, &call)
    }),
    own!(POST, "/webhooks/{id}/test", |context, call| deliveries::test(
        context,
        context.deliveries()?,
        &call
    )),
    own!(POST, "/webhooks/{id}/replay", |context, call| jobs::replay(
        context,
        context.deliveries()?,
        &call
    )),
    own!(POST, "/webhooks/{id}/backfill", |context, call| jobs::backfill(
        context,
        context.deliveries()?,
        &call
    )),
    own!(GET, "/jobs", |context, call| jobs::list(
        context.deliveries()?,
        call.list_query()?
    )),
    own!(GET, "/jobs/{id}", |context, call| jobs::show(
        context.deliveries()?,
        call.id()
    )),
    own!(POST, "/jobs/{id}/cancel", |context, call| jobs::cancel(
        context.deliveries()?,
        &call
    )),
    own!(GET, "/statistics", |context, _call| deliveries::statistics(
        context,
        context.deliveries()?
    )),
    own!(GET, "/webhooks/{id}/statistics", |context, call| {
        deliveries::webhook_statistics(context, context.deliveries()?, call.id())
    }),
];

/// Finds routes by path, then by method.
#[derive(Debug)]
pub(crate) struct Table {
    v1: matchit::Router<Vec<Route>>,
    v2: matchit::Router<Vec<Route>>,
}

/// What a path and method lead to.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Route(Route, matchit::Params<'a, 'a>),
    OtherMethod(Vec<Method>),
    Nothing,
}

impl Table {
    /// # Errors
    /// If two routes contradict each other.
    pub(crate) fn new() -> Result<Self, matchit::InsertError> {
        let of = |wanted: fn(&Route) -> bool| {
            let mut by_path: Vec<(&str, Vec<Route>)> = Vec::new();
            for route in ROUTES.iter().filter(|route| wanted(route)) {
                match by_path.iter_mut().find(|(path, _)| *path == route.path) {
                    Some((_, routes)) => routes.push(route.clone()),
                    None => by_path.push((route.path, vec![route.clone()])),
                }
            }
            let mut router = matchit::Router::new();
            for (path, routes) in by_path {
                router.insert(path, routes)?;
            }
            Ok(router)
        };
        Ok(Self {
            v1: of(|route| route.v1)?,
            v2: of(|_| true)?,
        })
    }

    /// `path` is what follows `/ocs/v1.php` or `/ocs/v2.php`.
    pub(crate) fn find<'a>(&'a self, v1: bool, method: &Method, path: &'a str) -> Found<'a> {
        let router = if v1 { &self.v1 } else { &self.v2 };
        let Ok(matched) = router.at(path) else {
            return Found::Nothing;
        };
        let wanted = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        match matched.value.iter().find(|route| route.method == *wanted) {
            Some(route) => Found::Route(route.clone(), matched.params),
            None => Found::OtherMethod(matched.value.iter().map(|route| route.method.clone()).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_describes_every_route_and_no_other() {
        let document: serde_json::Value =
            serde_json::from_str(super::super::handlers::about::OPENAPI).unwrap();
        let mut described: Vec<String> = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| *key != "parameters")
            {
                described.push(format!("{} {path}", method.to_uppercase()));
            }
        }
        let mut routed: Vec<String> = Vec::new();
        for route in &ROUTES {
            routed.push(format!("{} /ocs/v2.php{}", route.method, route.path));
            if route.v1 {
                routed.push(format!("{} /ocs/v1.php{}", route.method, route.path));
            }
        }
        described.sort();
        routed.sort();
        assert_eq!(described, routed);
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn routes_are_found_by_path_then_method() {
        const LISTENERS: &str = "/apps/webhook_listeners/api/v1/webhooks";
        let table = Table::new().unwrap();
        let found = |v1, method: Method, path: &str| match table.find(v1, &method, path) {
            Found::Route(route, _) => Some((route.method, route.path)),
            _ => None,
        };
        assert_eq!(
            found(true, Method::GET, LISTENERS),
            Some((Method::GET, LISTENERS))
        );
        assert_eq!(
            found(true, Method::HEAD, LISTENERS),
            Some((Method::GET, LISTENERS))
        );
        let one = "/apps/webhook_listeners/api/v1/webhooks/5";
        let listener = "/apps/webhook_listeners/api/v1/webhooks/{id}";
        assert_eq!(found(false, Method::POST, one), Some((Method::POST, listener)));
        assert!(matches!(
            table.find(false, &Method::PUT, one),
            Found::OtherMethod(_)
        ));
        let by_app = "/apps/webhook_listeners/api/v1/webhooks/byappid/x";
        assert_eq!(
            found(false, Method::DELETE, by_app),
            Some((
                Method::DELETE,
                "/apps/webhook_listeners/api/v1/webhooks/byappid/{appid}"
            ))
        );
        assert!(matches!(
            table.find(false, &Method::GET, by_app),
            Found::OtherMethod(_)
        ));
        let own = "/apps/openregister_webhooks/api/v1/events";
        assert_eq!(found(false, Method::GET, own), Some((Method::GET, own)));
        assert!(matches!(table.find(true, &Method::GET, own), Found::Nothing));
        assert!(matches!(
            table.find(false, &Method::GET, "/apps/webhook_listeners/api/v1/nothing"),
            Found::Nothing
        ));
    }
}
