//! The routes of the API. The OpenAPI document is checked against this list.

use hyper::Method;

use super::deliveries::DeliveryOperation;

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    List,
    Create,
    Show,
    Update,
    Delete,
    DeleteByApp,
    OwnList,
    OwnShow,
    Enable,
    Disable,
    Pause,
    Resume,
    RotateSecret,
    Events,
    Audit,
    OpenApi,
    OnDeliveries(DeliveryOperation),
    CloudUser,
    Capabilities,
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Anyone,
    LoggedIn,
    Admin,
}

/// A route below `/ocs/v1.php` or `/ocs/v2.php`.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) operation: Operation,
    pub(crate) access: Access,
    /// Also below `/ocs/v1.php`.
    pub(crate) v1: bool,
}

const LISTENERS: &str = "/apps/webhook_listeners/api/v1/webhooks";
const LISTENER: &str = "/apps/webhook_listeners/api/v1/webhooks/{id}";

const fn nextcloud(method: Method, path: &'static str, operation: Operation, access: Access) -> Route {
    Route {
        method,
        path,
        operation,
        access,
        v1: true,
    }
}

const fn own(method: Method, path: &'static str, operation: Operation) -> Route {
    Route {
        method,
        path,
        operation,
        access: Access::Admin,
        v1: false,
    }
}

const fn work(method: Method, path: &'static str, operation: DeliveryOperation) -> Route {
    own(method, path, Operation::OnDeliveries(operation))
}

/// Every route.
pub(crate) const ROUTES: [Route; 30] = [
    nextcloud(Method::GET, LISTENERS, Operation::List, Access::Admin),
    nextcloud(Method::POST, LISTENERS, Operation::Create, Access::Admin),
    nextcloud(Method::GET, LISTENER, Operation::Show, Access::Admin),
    nextcloud(Method::POST, LISTENER, Operation::Update, Access::Admin),
    nextcloud(Method::DELETE, LISTENER, Operation::Delete, Access::Admin),
    nextcloud(
        Method::DELETE,
        "/apps/webhook_listeners/api/v1/webhooks/byappid/{appid}",
        Operation::DeleteByApp,
        Access::Admin,
    ),
    nextcloud(Method::GET, "/cloud/user", Operation::CloudUser, Access::LoggedIn),
    nextcloud(
        Method::GET,
        "/cloud/capabilities",
        Operation::Capabilities,
        Access::Anyone,
    ),
    own(
        Method::GET,
        "/apps/openregister_webhooks/api/v1/webhooks",
        Operation::OwnList,
    ),
    own(
        Method::GET,
        "/apps/openregister_webhooks/api/v1/webhooks/{id}",
        Operation::OwnShow,
    ),
    own(
        Method::POST,
        "/apps/openregister_webhooks/api/v1/webhooks/{id}/enable",
        Operation::Enable,
    ),
    own(
        Method::POST,
        "/apps/openregister_webhooks/api/v1/webhooks/{id}/disable",
        Operation::Disable,
    ),
    own(
        Method::POST,
        "/apps/openregister_webhooks/api/v1/webhooks/{id}/pause",
        Operation::Pause,
    ),
    own(
        Method::POST,
        "/apps/openregister_webhooks/api/v1/webhooks/{id}/resume",
        Operation::Resume,
    ),
    own(
        Method::POST,
        "/apps/openregister_webhooks/api/v1/webhooks/{id}/secret",
        Operation::RotateSecret,
    ),
    own(
        Method::GET,
        "/apps/openregister_webhooks/api/v1/events",
        Operation::Events,
    ),
    own(
        Method::GET,
        "/apps/openregister_webhooks/api/v1/audit",
        Operation::Audit,
    ),
    own(
        Method::GET,
        "/apps/openregister_webhooks/api/v1/openapi.json",
        Operation::OpenApi,
    ),
    work(
        Method::GET,
        "/apps/openregister_webhooks/api/v1/deliveries",
        DeliveryOperation::Deliveries,
    ),
    work(
        Method::GET,
        "/apps/openregister_webhooks/api/v1/deliveries/{id}",
        DeliveryOperation::Delivery,
    ),
    work(
        Method::POST,
        "/apps/openregister_webhooks/api/v1/deliveries/{id}/retry",
        DeliveryOperation::RetryDelivery,
    ),
    work(
        Method::POST,
        "/apps/openregister_webhooks/api/v1/webhooks/{id}/retry",
        DeliveryOperation::RetryWebhook,
    ),
    work(
        Method::POST,
        "/apps/openregister_webhooks/api/v1/webhooks/{id}/test",
        DeliveryOperation::Test,
    ),
    work(
        Method::POST,
        "/apps/openregister_webhooks/api/v1/webhooks/{id}/replay",
        DeliveryOperation::Replay,
    ),
    work(
        Method::POST,
        "/apps/openregister_webhooks/api/v1/webhooks/{id}/backfill",
        DeliveryOperation::Backfill,
    ),
    work(
        Method::GET,
        "/apps/openregister_webhooks/api/v1/jobs",
        DeliveryOperation::Jobs,
    ),
    work(
        Method::GET,
        "/apps/openregister_webhooks/api/v1/jobs/{id}",
        DeliveryOperation::Job,
    ),
    work(
        Method::POST,
        "/apps/openregister_webhooks/api/v1/jobs/{id}/cancel",
        DeliveryOperation::CancelJob,
    ),
    work(
        Method::GET,
        "/apps/openregister_webhooks/api/v1/statistics",
        DeliveryOperation::Statistics,
    ),
    work(
        Method::GET,
        "/apps/openregister_webhooks/api/v1/webhooks/{id}/statistics",
        DeliveryOperation::WebhookStatistics,
    ),
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
    /// Where two routes contradict each other.
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
        let document: serde_json::Value = serde_json::from_str(super::super::operations::OPENAPI).unwrap();
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
        let table = Table::new().unwrap();
        let operation = |v1, method: Method, path: &str| match table.find(v1, &method, path) {
            Found::Route(route, _) => Some(route.operation),
            _ => None,
        };
        assert_eq!(operation(true, Method::GET, LISTENERS), Some(Operation::List));
        assert_eq!(operation(true, Method::HEAD, LISTENERS), Some(Operation::List));
        let one = "/apps/webhook_listeners/api/v1/webhooks/5";
        assert_eq!(operation(false, Method::POST, one), Some(Operation::Update));
        assert!(matches!(
            table.find(false, &Method::PUT, one),
            Found::OtherMethod(_)
        ));
        let by_app = "/apps/webhook_listeners/api/v1/webhooks/byappid/x";
        assert_eq!(
            operation(false, Method::DELETE, by_app),
            Some(Operation::DeleteByApp)
        );
        assert!(matches!(
            table.find(false, &Method::GET, by_app),
            Found::OtherMethod(_)
        ));
        let own = "/apps/openregister_webhooks/api/v1/events";
        assert_eq!(operation(false, Method::GET, own), Some(Operation::Events));
        assert!(matches!(table.find(true, &Method::GET, own), Found::Nothing));
        assert!(matches!(
            table.find(false, &Method::GET, "/apps/webhook_listeners/api/v1/nothing"),
            Found::Nothing
        ));
    }
}
