//! The variables that a command finds its ports in.

use crate::port::Port;
use crate::reservation::Service;

/// The variable of a service: its name in capitals, `_` for every other character, `_` before a digit
/// at its beginning, and `_PORT` after it (names of variables: POSIX.1-2024, Base Definitions, 8.1).
#[must_use]
pub fn variable(service: &Service) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = service.as_str().chars().map(plain).collect();
    let digit = name.starts_with(|first: char| first.is_ascii_digit());
    format!("{}{name}_PORT", if digit { "_" } else { "" })
}

/// The variables of a command: `PORT` is the port of the first service, and each service has one of
/// its own, except that `PORT` is enough for a first service that is called `main`.
#[must_use]
pub fn variables(ports: &[(Service, Port)]) -> Vec<(String, String)> {
    let first = ports.first().map(|(_, port)| ("PORT".to_owned(), port.to_string()));
    let is_main = |at: usize, service: &Service| at == 0 && *service == Service::default();
    let own = ports.iter().enumerate().filter(|(at, (service, _))| !is_main(*at, service));
    let own = own.map(|(_, (service, port))| (variable(service), port.to_string()));
    first.into_iter().chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_has_a_variable_that_shells_know() {
        for (service, name) in [
            ("web", "WEB_PORT"),
            ("@shop/admin-ui", "_SHOP_ADMIN_UI_PORT"),
            ("v1.2+x", "V1_2_X_PORT"),
            ("2nd", "_2ND_PORT"),
        ] {
            assert_eq!(variable(&service.parse().unwrap()), name);
        }
    }

    #[test]
    fn the_first_service_has_port() {
        let set = |names: &[&str]| {
            let ports = names.iter().zip(20_000..);
            let ports: Vec<_> = ports
                .map(|(name, port)| (name.parse().unwrap(), Port::new(port).unwrap()))
                .collect();
            let set = variables(&ports);
            set.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(set(&["main"]), ["PORT=20000"]);
        assert_eq!(set(&["web"]), ["PORT=20000", "WEB_PORT=20000"]);
        assert_eq!(set(&["main", "api"]), ["PORT=20000", "API_PORT=20001"]);
        assert_eq!(set(&["api", "main"]), ["PORT=20000", "API_PORT=20000", "MAIN_PORT=20001"]);
    }
}
