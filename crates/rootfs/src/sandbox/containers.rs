//! [`FOR_CONTAINERS`]: what lets a container make user namespaces.

/// Help for users who start containers, in the order of likely use.
pub(super) const FOR_CONTAINERS: [&str; 4] = [
    "Docker: start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined",
    "Podman: start it with --hostname localhost --security-opt label=disable; its own seccomp profile allows namespaces",
    "GitLab Runner: security_opt = [\"seccomp=unconfined\", \"apparmor=unconfined\"] in [runners.docker] of its config.toml",
    "Kubernetes: seccompProfile and appArmorProfile of type Unconfined in the container's securityContext",
];
