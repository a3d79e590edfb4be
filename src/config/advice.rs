//! Warns of settings that are valid and most likely a mistake.

use ipnet::IpNet;
use orw_egress::AllowedTarget;

use super::settings::Settings;

impl Settings {
    /// What an administrator should reconsider, one sentence for each.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        for target in &self.targets_allow {
            if let AllowedTarget::Network(network) = target
                && is_wide(*network)
            {
                advice.push(format!(
                    "ORW_TARGETS_ALLOW has {network}: whoever may register a webhook can reach loopback and every internal address \
                     through the sidecar; list the receivers' own networks instead"
                ));
            }
        }
        if let Some(address) = self.console_listen
            && !address.ip().is_loopback()
            && self.tls.is_none()
        {
            advice.push(format!(
                "ORW_CONSOLE_LISTEN is {address}, and there is no certificate: what the console answers crosses the network in clear, and \
                 whoever is on its way can change it; set ORW_TLS_CERT_FILE and ORW_TLS_KEY_FILE, or listen on 127.0.0.1"
            ));
        }
        for network in self.trusted_proxies.iter().filter(|network| is_wide(**network)) {
            advice.push(format!(
                "ORW_TRUSTED_PROXIES has {network}: whoever connects can then claim any address in X-Forwarded-For, and no attempt \
                 to guess a password is slowed down; list the proxies' own addresses instead"
            ));
        }
        advice
    }
}

/// Whether a network is wider than any that somebody runs: wider than 10.0.0.0/8 or fc00::/7.
fn is_wide(network: IpNet) -> bool {
    let least = match network {
        IpNet::V4(_) => 8,
        IpNet::V6(_) => 7,
    };
    network.prefix_len() < least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_everything_is_warned_of() {
        let mut settings = Settings::new("postgres://nc@db/nextcloud");
        assert_eq!(settings.advice(), Vec::<String>::new());
        settings.targets_allow = vec![
            AllowedTarget::Host("hooks.example".to_owned()),
            AllowedTarget::Network("10.0.0.0/8".parse().unwrap()),
            AllowedTarget::Network("fc00::/7".parse().unwrap()),
            AllowedTarget::Network("0.0.0.0/0".parse().unwrap()),
        ];
        settings.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap(), "::/0".parse().unwrap()];
        let advice = settings.advice();
        assert_eq!(advice.len(), 2, "{advice:?}");
        settings.console_listen = Some("192.0.2.7:6432".parse().unwrap());
        let with_console = settings.advice();
        assert!(
            with_console
                .iter()
                .any(|one| one.starts_with("ORW_CONSOLE_LISTEN is 192.0.2.7:6432"))
        );
        settings.console_listen = Some("[::1]:6432".parse().unwrap());
        assert_eq!(settings.advice(), advice);
        assert!(
            advice[0].starts_with("ORW_TARGETS_ALLOW has 0.0.0.0/0"),
            "{advice:?}"
        );
        assert!(
            advice[1].starts_with("ORW_TRUSTED_PROXIES has ::/0"),
            "{advice:?}"
        );
    }
}
