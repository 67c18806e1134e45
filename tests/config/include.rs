//! Configs of several files: what stands where, what is read, and what a faulty file keeps running.

use std::fs;
use std::path::Path;

use darvazeh::config::{self, LastGood, Loaded};

use super::{NOW, files};

const MAIN: &str = "\
version: 1
include: { files: routes.d/*.yaml, on_fault: keep_last_good }
listeners:
  - { name: public, address: 127.0.0.1:0 }
";

fn agency(name: &str, prefix: &str) -> String {
    format!(
        "agencies:
  {name}: {{ endpoints: [http://127.0.0.1:9001], health: {{ path: / }} }}
routes:
  - {{ name: {name}, agency: {name}, match: {{ prefix: {prefix} }}, require: {{ level: 0 }} }}
"
    )
}

/// A directory with a config file and included ones.
struct Config(tempfile::TempDir);

impl Config {
    fn new(main: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        files::write(dir.path());
        fs::create_dir(dir.path().join("routes.d")).unwrap();
        let config = Config(dir);
        config.write("routes.yaml", main);
        config
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn load(&self, last_good: &LastGood) -> Result<Loaded, Vec<config::Fault>> {
        config::load_with(&self.0.path().join("routes.yaml"), NOW, last_good, &|_| Vec::new())
    }

    fn good(&self, last_good: &LastGood) -> Loaded {
        self.load(last_good).unwrap_or_else(|faults| panic!("{faults:#?}"))
    }
}

fn routes(loaded: &Loaded) -> Vec<&str> {
    loaded.config.routes.iter().map(|route| &*route.name).collect()
}

fn kept(loaded: &Loaded) -> Vec<(String, bool, &'static str)> {
    let name = |file: &str| Path::new(file).file_name().unwrap().to_string_lossy().into_owned();
    loaded.kept.iter().map(|kept| (name(&kept.file), kept.in_use, kept.faults[0].code)).collect()
}

/// Two agencies in two files, loaded once.
fn two() -> (Config, Loaded) {
    let config = Config::new(MAIN);
    config.write("routes.d/bank.yaml", &agency("bank", "/bank"));
    config.write("routes.d/tax.yaml", &agency("tax", "/tax"));
    let loaded = config.good(&LastGood::default());
    assert_eq!(routes(&loaded), ["bank", "tax"]);
    assert!(loaded.kept.is_empty());
    (config, loaded)
}

#[test]
fn what_stands_in_an_included_file_says_so() {
    let (config, loaded) = two();
    let at = &loaded.config.routes[1].at;
    assert_eq!(*at.file, *config.0.path().join("routes.d/tax.yaml").to_string_lossy());
    assert_eq!(at.line, 4);
}

#[test]
fn every_file_that_is_read_is_told() {
    let config = Config::new(
        "version: 1\ninclude: routes.d/*.yaml\nlisteners:\n  - name: public\n    address: 127.0.0.1:0\n    tls: { certificates: [{ cert: good.pem, key: good.key }], client_ca: ca.pem, client_auth: required }\nissuers: { sso: { issuer: https://a, audiences: [a], jwks: { file: jwks.json } } }\n",
    );
    let tls = "tls: { ca: ../ca.pem, client_cert: ../good.pem, client_key: ../good.key }";
    let text = agency("bank", "/bank").replace("http://127.0.0.1:9001]", &format!("https://127.0.0.1:9001], {tls}"));
    config.write("routes.d/bank.yaml", &text);
    let loaded = config.good(&LastGood::default()).config;
    let shown: Vec<_> =
        loaded.sources.iter().map(|p| p.strip_prefix(config.0.path()).unwrap().to_str().unwrap()).collect();
    let from_bank = ["routes.d/../ca.pem", "routes.d/../good.key", "routes.d/../good.pem"];
    let main = ["routes.yaml", "routes.d/bank.yaml", "ca.pem", "good.key", "good.pem", "jwks.json"];
    assert_eq!(shown, [&main[..], &from_bank[..]].concat());
    assert_eq!(loaded.source_dirs, [config.0.path().join("routes.d")]);
}

/// The contract: `sha256` is over the file's bytes. With includes, a shell can still tell it.
#[test]
fn the_sha256_covers_included_files() {
    let plain = Config::new(&(MAIN.replace("include", "# include") + &agency("bank", "/")));
    let path = plain.0.path().join("routes.yaml");
    let sum = |script: &str, dir: &Path| {
        let out = std::process::Command::new("sh").arg("-c").arg(script).current_dir(dir).output().unwrap();
        String::from_utf8(out.stdout).unwrap()[..64].to_owned()
    };
    let loaded = config::load(&path, NOW).unwrap().config;
    assert_eq!(loaded.sha256, sum("sha256sum routes.yaml", plain.0.path()));
    let (config, loaded) = two();
    let script = r"{ cat routes.yaml; for f in routes.d/*.yaml; do printf '\0%s\0' $f; cat $f; done; } | sha256sum";
    assert_eq!(loaded.config.sha256, sum(script, config.0.path()));
}

#[test]
fn a_faulty_file_keeps_its_last_good_version_while_the_others_apply() {
    let (config, first) = two();
    config.write("routes.d/bank.yaml", "agencies: { bank: [\n");
    config.write("routes.d/tax.yaml", &agency("tax", "/taxes").replace("name: tax,", "name: taxes,"));
    let second = config.good(&first.last_good);
    assert_eq!(routes(&second), ["bank", "taxes"]);
    assert_eq!(kept(&second), [("bank.yaml".to_owned(), true, "E0002")]);
    // It stays so for as long as the file is not mended, and ends with that.
    let third = config.good(&second.last_good);
    assert_eq!((routes(&third), kept(&third)), (routes(&second), kept(&second)));
    assert_eq!(third.config.sha256, second.config.sha256);
    config.write("routes.d/bank.yaml", &agency("bank", "/banks").replace("name: bank,", "name: banks,"));
    let fourth = config.good(&third.last_good);
    assert_eq!((routes(&fourth), fourth.kept.len()), (vec!["banks", "taxes"], 0));
}

/// The file that changed is to blame, even where the fault is found in the other.
#[test]
fn who_collides_with_an_unchanged_file_is_to_blame() {
    let (config, first) = two();
    config.write("routes.d/bank.yaml", &agency("bank", "/tax"));
    let second = config.good(&first.last_good);
    assert_eq!(kept(&second), [("bank.yaml".to_owned(), true, "E0505")]);
    config.write("routes.d/bank.yaml", &agency("tax", "/bank"));
    let third = config.good(&first.last_good);
    assert_eq!(kept(&third), [("bank.yaml".to_owned(), true, "E0101")]);
    assert_eq!(routes(&third), ["bank", "tax"]);
}

#[test]
fn a_new_faulty_file_is_left_out() {
    let (config, first) = two();
    config.write("routes.d/news.yaml", &agency("news", "/tax"));
    let second = config.good(&first.last_good);
    assert_eq!((routes(&second), kept(&second)), (vec!["bank", "tax"], vec![("news.yaml".to_owned(), false, "E0505")]));
    config.write("routes.d/news.yaml", "routes: 1\n");
    assert_eq!(kept(&config.good(&second.last_good)), [("news.yaml".to_owned(), false, "E0006")]);
}

#[test]
fn a_file_that_is_removed_is_gone() {
    let (config, first) = two();
    fs::remove_file(config.0.path().join("routes.d/tax.yaml")).unwrap();
    assert_eq!(routes(&config.good(&first.last_good)), ["bank"]);
}

#[test]
fn the_config_file_itself_is_never_kept() {
    let (config, first) = two();
    config.write("routes.yaml", &MAIN.replace("127.0.0.1:0", "localhost"));
    config.write("routes.d/tax.yaml", "routes: 1\n");
    let faults = config.load(&first.last_good).unwrap_err();
    // Everything that is wrong on disk is told, that which could have been kept as well.
    assert_eq!(faults.iter().map(|f| f.code).collect::<Vec<_>>(), ["E0201", "E0006"]);
}

/// A start has no last good version, and `check` wants none.
#[test]
fn at_first_a_faulty_file_refuses_the_whole() {
    let (config, _) = two();
    config.write("routes.d/tax.yaml", "routes: 1\n");
    assert_eq!(config.load(&LastGood::default()).unwrap_err()[0].code, "E0006");
}

#[test]
fn without_the_policy_nothing_is_kept() {
    let (config, first) = two();
    config.write("routes.yaml", &MAIN.replace("keep_last_good", "refuse"));
    config.write("routes.d/tax.yaml", "routes: 1\n");
    assert!(config.load(&first.last_good).is_err());
}

/// What a broken file defines is not known; nobody is told that it does not exist.
#[test]
fn a_broken_file_makes_no_faults_elsewhere() {
    let config = Config::new(MAIN);
    config.write("routes.d/bank.yaml", "agencies: { bank: [\n");
    config.write("routes.d/tax.yaml", &agency("tax", "/tax").replace("agency: tax", "agency: bank"));
    let faults = config.load(&LastGood::default()).unwrap_err();
    assert_eq!(faults.iter().map(|f| f.code).collect::<Vec<_>>(), ["E0002"]);
}

/// A hundred thousand routes must fit: what many have alike is kept once.
#[test]
fn routes_that_are_alike_share_what_they_have_alike() {
    let (_config, loaded) = two();
    let [bank, tax] = &loaded.config.routes[..] else { panic!("two routes") };
    assert!(std::sync::Arc::ptr_eq(&bank.require, &tax.require) && std::sync::Arc::ptr_eq(&bank.hosts, &tax.hosts));
    assert!(size_of::<config::model::Route>() <= 256, "{} bytes", size_of::<config::model::Route>());
}

/// An agency may be defined in a later file than the route that names it.
#[test]
fn the_order_of_files_does_not_matter() {
    let config = Config::new(
        &(MAIN.to_owned() + "routes: [{ name: z, agency: tax, match: { prefix: /z }, require: { level: 0 } }]\n"),
    );
    let text = agency("tax", "/tax").replace("health:", "timeouts: { idle: 7s }, health:");
    config.write("routes.d/tax.yaml", &text);
    let loaded = config.good(&LastGood::default());
    assert_eq!(routes(&loaded), ["z", "tax"]);
    assert_eq!(loaded.config.routes[0].timeouts.idle.as_secs(), 7);
}

/// A team's cases stand beside its routes, and may name routes of any file.
#[test]
fn expectations_may_stand_in_included_files() {
    let config = Config::new(MAIN);
    let case = |route: &str| format!("expect: [{{ request: GET http://a/tax, then: {{ route: {route} }} }}]\n");
    config.write("routes.d/bank.yaml", &(agency("bank", "/bank") + &case("tax")));
    config.write("routes.d/tax.yaml", &agency("tax", "/tax"));
    let loaded = config.good(&LastGood::default());
    assert!(loaded.config.expectations[0].at.file.ends_with("routes.d/bank.yaml"));
    config.write("routes.d/bank.yaml", &(agency("bank", "/bank") + &case("taxx")));
    assert_eq!(kept(&config.good(&loaded.last_good)), [("bank.yaml".to_owned(), true, "E0703")]);
}
