//! The text of ssh's configuration and of its host keys for a stack: pure functions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use landfall_compute::HostKey;
use landfall_pipeline::{Access, Host};
use landfall_provider::InstanceId;

/// The login user of Amazon Linux and of the local provider.
const USER: &str = "ec2-user";

/// Settings for every connection, which override the user's own configuration: ssh uses the first
/// value of an option.
const SETTINGS: &[(&str, &str)] = &[
    // An older ssh does not have all of these options, and does not need the missing ones.
    ("IgnoreUnknown", "*"),
    // The host is the one that the provider reported.
    ("Port", "22"),
    ("GlobalKnownHostsFile", "none"),
    ("KnownHostsCommand", "none"),
    ("StrictHostKeyChecking", "yes"),
    ("VerifyHostKeyDNS", "no"),
    ("NoHostAuthenticationForLocalhost", "no"),
    ("CheckHostIP", "no"),
    ("UpdateHostKeys", "no"),
    ("CanonicalizeHostname", "no"),
    ("ProxyUseFdpass", "no"),
    // A shared connection may lead to another stack's instance with the same private address.
    ("ControlMaster", "no"),
    ("ControlPath", "none"),
    ("ControlPersist", "no"),
    // The instance can use nothing on this machine.
    ("ForwardAgent", "no"),
    ("ForwardX11", "no"),
    ("ForwardX11Trusted", "no"),
    ("Tunnel", "no"),
    ("GSSAPIAuthentication", "no"),
    ("GSSAPIDelegateCredentials", "no"),
    ("HostbasedAuthentication", "no"),
    ("PreferredAuthentications", "publickey"),
    // Only the caller's command is run.
    ("PermitLocalCommand", "no"),
    ("RemoteCommand", "none"),
    ("RequestTTY", "auto"),
    ("SessionType", "default"),
    ("StdinNull", "no"),
    ("ForkAfterAuthentication", "no"),
];

/// The data for a stack's ssh configuration.
#[derive(Debug)]
pub(crate) struct Way<'a> {
    pub(crate) access: &'a Access,
    /// The host keys of each host; a host without keys is omitted, because it could not be
    /// verified.
    pub(crate) keys: &'a BTreeMap<InstanceId, Vec<HostKey>>,
    /// The private key, or a public one whose private key is in the agent.
    pub(crate) identity: PathBuf,
    /// The path of the host keys.
    pub(crate) known_hosts: PathBuf,
    /// The proxy to the bastion, if it is not reached by its address.
    pub(crate) proxy: Option<String>,
}

impl Way<'_> {
    /// The hosts with known keys, the bastion first.
    fn hosts(&self) -> impl Iterator<Item = &Host> {
        let all = self
            .access
            .bastion
            .iter()
            .chain(self.access.services.values().flatten());
        all.filter(|host| host.is_there())
            .filter(|host| self.keys.get(&host.id).is_some_and(|keys| !keys.is_empty()))
    }

    /// The configuration.
    pub(crate) fn config(&self) -> String {
        let mut text = format!(
            "# The instances of the stack {} as they were when this was made.\n",
            self.access.stack
        );
        let mut names = Vec::new();
        for host in self.hosts() {
            let name = alias(self.access, host);
            let is_bastion = self.access.bastion.as_ref() == Some(host);
            let address = match (is_bastion, host.public_address) {
                (true, Some(public)) => public,
                _ => host.private_address,
            };
            push(&mut text, format_args!("\nHost {name} {}\n", host.id));
            push(&mut text, format_args!("  HostName {address}\n"));
            push(&mut text, format_args!("  HostKeyAlias {}\n", host.id));
            match (is_bastion, &self.proxy) {
                (false, _) => push(
                    &mut text,
                    format_args!("  ProxyJump {}-bastion\n", self.access.stack),
                ),
                (true, Some(proxy)) => push(&mut text, format_args!("  ProxyCommand {proxy}\n")),
                (true, None) => {}
            }
            names.push(name);
            names.push(host.id.to_string());
        }
        if names.is_empty() {
            return text;
        }
        push(
            &mut text,
            format_args!(
                "\nHost {}\n  User {USER}\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n",
                names.join(" "),
                quoted(&self.identity),
                quoted(&self.known_hosts),
            ),
        );
        for (option, value) in SETTINGS {
            push(&mut text, format_args!("  {option} {value}\n"));
        }
        text
    }

    /// The host keys, under the hosts' ids.
    pub(crate) fn known_hosts(&self) -> String {
        let mut text = String::new();
        for host in self.hosts() {
            for key in &self.keys[&host.id] {
                push(&mut text, format_args!("{} {key}\n", host.id));
            }
        }
        text
    }
}

/// The name of a host in ssh: `shop-web-1`, `shop-bastion`.
pub(crate) fn alias(access: &Access, host: &Host) -> String {
    format!("{}-{}", access.stack, host.name.replace('/', "-"))
}

fn push(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("a string can be written to");
}

/// A path as one word of ssh_config(5), where a percent sign is special.
pub(crate) fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use landfall_compute::InstanceState;

    use super::*;

    fn host(name: &str, id: &str, last: u8, state: InstanceState) -> Host {
        Host {
            name: name.to_owned(),
            id: InstanceId::from(id),
            zone: None,
            private_address: Ipv4Addr::new(10, 0, 0, last),
            public_address: (name == "bastion").then_some(Ipv4Addr::new(203, 0, 113, 10)),
            state,
        }
    }

    #[test]
    fn hosts_are_named_by_service_number_and_id() {
        let ended = InstanceState::Failed("exited with code 1".to_owned());
        let web = vec![
            host("web/1", "i-1", 4, InstanceState::Running),
            host("web/2", "i-2", 5, InstanceState::Pending),
            host("i-3", "i-3", 6, ended),
        ];
        let access = Access {
            stack: "shop".parse().unwrap(),
            is_single: false,
            bastion: Some(host("bastion", "i-0", 9, InstanceState::Running)),
            services: BTreeMap::from([("web".parse().unwrap(), web)]),
        };
        let key = HostKey::new(
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA0aNjs3C9bK1kU0Y2m9fQv1mS3cB1v0yq9m3nJmYc4M",
        );
        let key = vec![key.unwrap()];
        // The second instance has not reported its keys yet.
        let keys = ["i-0", "i-1", "i-3"].map(|id| (InstanceId::from(id), key.clone()));
        let keys = keys.into();
        let way = Way {
            access: &access,
            keys: &keys,
            identity: PathBuf::from("/home/ana/.ssh/id_ed25519"),
            known_hosts: PathBuf::from("/home/ana/100% mine/known_hosts"),
            proxy: Some("\"/usr/bin/landfall\" dial %h %p".to_owned()),
        };
        insta::assert_snapshot!(way.config(), @r#"
        # The instances of the stack shop as they were when this was made.

        Host shop-bastion i-0
          HostName 203.0.113.10
          HostKeyAlias i-0
          ProxyCommand "/usr/bin/landfall" dial %h %p

        Host shop-web-1 i-1
          HostName 10.0.0.4
          HostKeyAlias i-1
          ProxyJump shop-bastion

        Host shop-bastion i-0 shop-web-1 i-1
          User ec2-user
          IdentityFile "/home/ana/.ssh/id_ed25519"
          IdentitiesOnly yes
          UserKnownHostsFile "/home/ana/100%% mine/known_hosts"
          IgnoreUnknown *
          Port 22
          GlobalKnownHostsFile none
          KnownHostsCommand none
          StrictHostKeyChecking yes
          VerifyHostKeyDNS no
          NoHostAuthenticationForLocalhost no
          CheckHostIP no
          UpdateHostKeys no
          CanonicalizeHostname no
          ProxyUseFdpass no
          ControlMaster no
          ControlPath none
          ControlPersist no
          ForwardAgent no
          ForwardX11 no
          ForwardX11Trusted no
          Tunnel no
          GSSAPIAuthentication no
          GSSAPIDelegateCredentials no
          HostbasedAuthentication no
          PreferredAuthentications publickey
          PermitLocalCommand no
          RemoteCommand none
          RequestTTY auto
          SessionType default
          StdinNull no
          ForkAfterAuthentication no
        "#);
        let lines: Vec<String> = way.known_hosts().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("i-0 ssh-ed25519 AAAA"), "{lines:?}");
    }
}
