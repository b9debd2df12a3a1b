//! The user's own ssh configuration cannot weaken the connection to an instance.

use std::path::{Path, PathBuf};

use crate::Ran;
use crate::support::Project;

/// Options that would run commands here, forward this machine's agent or display, or connect to
/// another host. Each command would create a file in the directory.
fn hostile(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "Host *\n\
         ForwardAgent yes\nForwardX11 yes\nForwardX11Trusted yes\nTunnel yes\nSendEnv *\n\
         PermitLocalCommand yes\nLocalCommand touch {directory}/local\nRemoteCommand touch /remote\n\
         KnownHostsCommand /usr/bin/touch {directory}/known\nProxyCommand touch {directory}/proxy\n\
         ControlMaster auto\nControlPath {directory}/mux-%h\nControlPersist yes\n\
         CanonicalizeHostname always\nPort 2222\nUser root\nStrictHostKeyChecking no\n\
         UserKnownHostsFile /dev/null\nGSSAPIDelegateCredentials yes\nStdinNull yes\nSessionType none\n"
    )
}

/// The effective options of the real client, as it prints them.
#[track_caller]
fn is_safe(project: &Project, config: &Path, host: &str) {
    let mut ssh = project.as_its_user("ssh");
    ssh.arg("-G").arg("-F").arg(config).arg(host);
    let ran = Ran::from(ssh.output().unwrap()).ended_with(0);
    for line in [
        "forwardagent no",
        "forwardx11 no",
        "forwardx11trusted no",
        "tunnel false",
        "permitlocalcommand no",
        "controlmaster false",
        "canonicalizehostname false",
        "port 22",
        "user ec2-user",
        "stricthostkeychecking true",
        "preferredauthentications publickey",
    ] {
        assert!(ran.stdout.lines().any(|it| it == line), "{line}: {ran:#?}");
    }
    for option in ["controlpath", "knownhostscommand", "remotecommand"] {
        let set = format!("{option} ");
        let is_set = |line: &str| line.starts_with(&set) && line != format!("{set}none");
        assert!(!ran.stdout.lines().any(is_set), "{option}: {ran:#?}");
    }
}

#[test]
fn needs_ssh_own_configuration_does_not_weaken() {
    let project = Project::with_service(
        "stack = \"ssh-hostile\"\n\n[network.bastion]\nallow = [\"203.0.113.250/32\"]\nkey = \"key.pub\"\n\n\
         [service.web]\nport = 8000\nhealth = { path = \"/healthz\" }\n",
    );
    let made = project
        .as_its_user("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", "key"])
        .output();
    Ran::from(made.unwrap()).ended_with(0);
    project.landfall(&["deploy"]).ended_with(0);
    let traces = project.directory().join("traces");
    std::fs::create_dir(&traces).unwrap();
    let left = || std::fs::read_dir(&traces).unwrap().count();

    // `landfall ssh` reads the user's own configuration after its own.
    let home = project.directory().join("../home/.ssh");
    std::fs::create_dir_all(&home).unwrap();
    let forward = format!("LocalForward {}/forward 127.0.0.1:1\n", traces.display());
    std::fs::write(home.join("config"), hostile(&traces) + &forward).unwrap();
    let ran = project.landfall(&["ssh", "web/1", "-i", "key", "--", "/bin/nothing"]);
    ran.ended_with(127);
    assert_eq!(left(), 0, "{traces:?}");
    let folder = project.config_dir().join("ssh/local-ssh-hostile");
    let written: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("config-"))
        .collect();
    assert_eq!(written.len(), 1, "{written:?}");
    is_safe(&project, &written[0], "ssh-hostile-web-1");
    is_safe(&project, &written[0], "ssh-hostile-bastion");
    let mut ssh = project.as_its_user("ssh");
    ssh.arg("-G")
        .arg("-F")
        .arg(&written[0])
        .arg("ssh-hostile-web-1");
    let sent = Ran::from(ssh.output().unwrap()).ended_with(0).stdout;
    let sent: Vec<&str> = sent
        .lines()
        .filter(|line| line.starts_with("sendenv"))
        .collect();
    assert_eq!(sent, ["sendenv LANG", "sendenv LC_*"]);

    // The output of `ssh-config` overrides everything else in the file that includes it.
    let printed = project.landfall(&["ssh-config", "-i", "key"]).ended_with(0);
    let config = project.directory().join("ssh_config");
    std::fs::write(&config, printed.stdout + &hostile(&traces)).unwrap();
    is_safe(&project, &config, "ssh-hostile-web-1");
    let mut ssh = project.as_its_user("ssh");
    ssh.arg("-F").arg(&config);
    ssh.args(["ssh-hostile-web-1", "/bin/nothing"]);
    Ran::from(ssh.output().unwrap()).ended_with(127);
    assert_eq!(left(), 0, "{traces:?}");
}
