"""infra/kubernetes and infra/strimzi: manifests that Kubernetes' own schemas take, that fit together, and that say of
topics and ACLs what tidelog's code says.

Each file is judged as it stands, always. What kustomize makes of them (`rendered`) is judged only where kubectl is
installed, in CI too: Debian 12 has 1.20, which does not know a kustomization's `labels`, so `.ci/run` installs none."""

import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.servers.custom_resources import SCHEMAS
from tidelog.config import Config
from tidelog.producers.acls import group_acls
from tidelog.producers.kafka_topics import COMPACTED_HABITS, COMPACTED_RULES, LOG_RULES, MIN_INSYNC, REPLICAS

INFRA = Path(__file__).parents[2] / "infra"
BASE, OVERLAYS, STRIMZI = INFRA / "kubernetes/base", INFRA / "kubernetes/overlays", INFRA / "strimzi"
OBSERVER = INFRA / "kubernetes/observer"
SITES = sorted(path.name for path in OVERLAYS.iterdir())
KUBERNETES = "1.37"
GROUP = "bank"

Resource = dict[str, Any]


def read(path: Path) -> list[Resource]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one is not None]


def validate(resource: Resource) -> None:
    """Raises what is wrong; a field that there is not is."""
    if resource["kind"] in SCHEMAS:
        jsonschema.validate(resource, SCHEMAS[resource["kind"]])
    else:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def kustomization(folder: Path) -> Resource:
    (found,) = read(folder / "kustomization.yaml")
    return found


def rendered(folder: Path) -> list[Resource]:
    """By kubectl's own kustomize. Skips the test where it is not installed; 1.32 is one that can."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize("folder", [BASE, OBSERVER, STRIMZI], ids=["base", "observer", "strimzi"])
def test_each_resource_is_valid(folder: Path) -> None:
    """All files are listed, and each resource in them is what its schema says."""
    listed = kustomization(folder)
    files = [*listed["resources"], *(name for one in listed.get("configMapGenerator", ()) for name in one["files"])]
    assert sorted(files) == sorted(path.name for path in folder.iterdir() if path.name != "kustomization.yaml")
    resources = [one for name in listed["resources"] for one in read(folder / name)]
    assert len(resources) >= 5  # strimzi's are many in a file
    for resource in resources:
        validate(resource)


def test_the_schemas_refuse_what_is_not_there() -> None:
    """So that the test above says something."""
    (worker,) = read(BASE / "worker.yaml")
    worker["spec"]["template"]["spec"]["containers"][0]["readOnlyRootFilesystems"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(worker)
    topic = read(STRIMZI / "topics.yaml")[0]
    with pytest.raises(jsonschema.ValidationError):
        validate(topic | {"spec": topic["spec"] | {"partition": 1}})


@pytest.mark.parametrize("site", SITES)
def test_an_overlay_patches_what_there_is(site: str) -> None:
    """Without kustomize: every file that it names is there, and every patch is of a resource, container and volume of
    the base."""
    folder = OVERLAYS / site
    listed = kustomization(folder)
    assert [(folder / name).resolve() for name in listed["resources"]] == [BASE.resolve()]
    there = {
        (one["kind"], one["metadata"]["name"]): one
        for name in kustomization(BASE)["resources"]
        for one in read(BASE / name)
    }
    for patch in listed["patches"]:
        (change,) = read(folder / patch["path"])
        base = there[change["kind"], change["metadata"]["name"]]
        if change["kind"] == "Deployment":
            for part in ("containers", "volumes"):
                names = {one["name"] for one in base["spec"]["template"]["spec"][part]}
                assert {one["name"] for one in change["spec"]["template"]["spec"][part]} <= names
    assert {path.name for path in folder.iterdir()} == {
        "kustomization.yaml",
        *(one["path"] for one in listed["patches"]),
    }


@pytest.mark.parametrize("site", SITES)
def test_an_overlay_is_a_site(site: str) -> None:
    """As kustomize renders it: valid, of that site alone, nobody's but its own pods selected, and locked down."""
    found = {one["kind"]: one for one in rendered(OVERLAYS / site)}
    for resource in found.values():
        validate(resource)
        assert resource["metadata"]["name"].startswith(("tidelog-worker-", "tidelog-config-")) and site in str(resource)
    pod = found["Deployment"]["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert labels["app.kubernetes.io/instance"] == site
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    monitored = found["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    assert monitored.items() <= found["Service"]["metadata"]["labels"].items() and site in monitored.values()
    (container,) = pod["spec"]["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert container["args"] == ["site", "run", "$(SITE)"] and environment["SITE"] == site
    user = f"tidelog-site-{site}"
    assert environment["TIDELOG_KAFKA__SASL_PLAIN_USERNAME"] == user
    secrets = {one["name"]: one["secret"]["secretName"] for one in pod["spec"]["volumes"] if "secret" in one}
    assert secrets["kafka-user"] == user and "overlay" not in secrets.values()


@pytest.mark.parametrize(
    ("path", "port", "patience_s"),
    [(BASE / "worker.yaml", "metrics", 30), (OBSERVER / "observer.yaml", "https", 10)],
    ids=["worker", "observer"],
)
def test_a_pod_may_do_next_to_nothing(path: Path, port: str, patience_s: int) -> None:
    """Non-root, a root file system that is not written to, no capabilities; probes, limits, and time to end."""
    (worker,) = read(path)
    pod = worker["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 10001
    assert "USER 10001" in (INFRA / "Containerfile").read_text()
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["enableServiceLinks"] is False and pod["automountServiceAccountToken"] is False
    assert pod["terminationGracePeriodSeconds"] > patience_s and container["resources"]["limits"]["memory"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == port
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    assert all(one.get("readOnly") or one["mountPath"] == "/tmp" for one in container["volumeMounts"])


def test_the_configuration_is_one(tmp_path: Path) -> None:
    """With the secrets where they are mounted, and each overlay's environment; its ports are those that are open."""
    (worker,) = read(BASE / "worker.yaml")
    mounts = {
        one["name"]: one["mountPath"] for one in worker["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    }
    text = (BASE / "tidelog.toml").read_text()
    tables = tomllib.loads(text)
    assert tables["kafka"]["sasl_plain_password_file"] == mounts["kafka-user"] + "/password"
    assert tables["kafka"]["ssl_cafile"] == mounts["kafka-ca"] + "/ca.crt"
    (tmp_path / "secret").write_text("s")
    for place in ("/run/secrets/kafka-user/password", "/run/secrets/redis/password"):
        text = text.replace(place, str(tmp_path / "secret"))
    listen = tables.pop("metrics")["listen"]
    if "metrics" not in Config.model_fields:  # which another part of this version brings
        text = text.partition("[metrics]")[0]
    (tmp_path / "tidelog.toml").write_text(text)
    config = Config.load(tmp_path / "tidelog.toml", {"TIDELOG_KAFKA__SASL_PLAIN_USERNAME": "tidelog-site-tokyo"})
    assert sorted(config.sites) == SITES
    (policy,) = read(BASE / "network.yaml")
    open_ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    used = {int(server.rpartition(":")[2]) for server in config.kafka.bootstrap_servers}
    used |= {int(site.redis.url.rpartition(":")[2].partition("/")[0]) for site in config.sites.values()}
    assert open_ports == used | {53}
    assert listen == "0.0.0.0:9464" and policy["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 9464}]


def test_strimzis_topics_are_those_that_group_create_makes() -> None:
    """Name, partitions, replicas and every setting, so that neither can drift."""
    topics = {one["metadata"]["name"]: one["spec"] for one in read(STRIMZI / "topics.yaml")}
    many = {"min.insync.replicas": str(MIN_INSYNC)}
    compacted = COMPACTED_RULES | COMPACTED_HABITS | many
    prefix = Config().prefix
    settings = {f"{prefix}.{GROUP}": LOG_RULES | many, f"{prefix}-control": compacted, f"{prefix}-schemas": compacted}
    assert topics == {
        name: {"partitions": 1, "replicas": REPLICAS, "config": config} for name, config in settings.items()
    }


def test_strimzis_users_are_the_roles_that_are_printed() -> None:
    """Each role's ACLs, no more and no less."""
    config = Config(sites={site: {"redis": {"url": "redis://127.0.0.1"}} for site in SITES})
    wanted = {(acl.principal, acl.operation, acl.resource_type, acl.resource) for acl in group_acls(config, GROUP)}
    found = set()
    for user in read(STRIMZI / "users.yaml"):
        for acl in user["spec"]["authorization"]["acls"]:
            resource = acl["resource"]
            kind, name = resource["type"].upper(), resource.get("name", "kafka-cluster")
            assert resource.get("patternType", "literal") == "literal"
            for operation in acl["operations"]:
                spelled = {"DescribeConfigs": "DESCRIBE_CONFIGS"}.get(operation, operation.upper())
                found.add((f"User:{user['metadata']['name']}", spelled, kind, name))
    assert found == wanted


def test_strimzi_renders() -> None:
    """With the label by which its operators know whose topics and users these are."""
    resources = rendered(STRIMZI)
    assert len(resources) == 8
    for resource in resources:
        validate(resource)
        assert resource["metadata"]["labels"] == {"strimzi.io/cluster": "kafka"}


def test_the_alerts_are_those_of_prometheus() -> None:
    """Rule for rule, so that neither can drift."""
    (found,) = read(OBSERVER / "rules.yaml")
    assert found["spec"] == yaml.safe_load((INFRA / "prometheus/rules/tidelog.yaml").read_text())


def test_the_observers_configuration_is_one(tmp_path: Path) -> None:
    """That of the workers but for what it serves, with each secret where it is mounted; its port is the open one."""
    (observer,) = read(OBSERVER / "observer.yaml")
    pod = observer["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    text = (OBSERVER / "tidelog.toml").read_text()
    tables, workers = tomllib.loads(text), tomllib.loads((BASE / "tidelog.toml").read_text())
    http, _ = tables.pop("http"), workers.pop("metrics")
    assert tables == workers and observer["spec"]["replicas"] == 1 and container["args"] == ["serve", "http"]
    mounts = tuple(one["mountPath"] + "/" for one in container["volumeMounts"])
    for name in ("token_file", "tls_certfile", "tls_keyfile"):
        assert http[name].startswith(mounts)
    (tmp_path / "secret").write_text("s" * 32)
    files = [http["token_file"], http["tls_certfile"], http["tls_keyfile"], tables["kafka"]["sasl_plain_password_file"]]
    for place in (*files, "/run/secrets/redis/password"):
        text = text.replace(place, str(tmp_path / "secret"))
    (tmp_path / "tidelog.toml").write_text(text)
    environment = {one["name"]: one["value"] for one in container["env"] if one["name"] != "TIDELOG_CONFIG"}
    config = Config.load(tmp_path / "tidelog.toml", environment)
    assert config.http.token is not None and config.kafka.sasl_plain_username == "tidelog-reader"
    assert "tidelog-reader" in {user["metadata"]["name"] for user in read(STRIMZI / "users.yaml")}
    (policy,), (service,) = read(OBSERVER / "network.yaml"), read(OBSERVER / "service.yaml")
    port = int(config.http.address.rpartition(":")[2])
    assert policy["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": port}]
    assert policy["spec"]["egress"] == read(BASE / "network.yaml")[0]["spec"]["egress"]
    assert service["spec"]["ports"][0]["port"] == port == container["ports"][0]["containerPort"]
    assert service["spec"]["publishNotReadyAddresses"]  # an observer without Kafka is to be scraped
    probes = [container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert probes == ["/healthz", "/readyz", "/healthz"]


def test_the_observer_is_no_sites() -> None:
    """As kustomize renders it: its pods are its own, and it is scraped with its token, over TLS."""
    found = {one["kind"]: one for one in rendered(OBSERVER)}
    for resource in found.values():
        validate(resource)
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels == found["Service"]["spec"]["selector"]
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    monitor = found["ServiceMonitor"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= found["Service"]["metadata"]["labels"].items()
    (endpoint,) = monitor["endpoints"]
    secrets = {
        one["secret"]["secretName"]
        for one in found["Deployment"]["spec"]["template"]["spec"]["volumes"]
        if "secret" in one
    }
    assert {endpoint["authorization"]["credentials"]["name"], endpoint["tlsConfig"]["ca"]["secret"]["name"]} <= secrets
    workers = {one["kind"]: one for one in rendered(OVERLAYS / SITES[0])}
    assert not workers["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert not workers["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
