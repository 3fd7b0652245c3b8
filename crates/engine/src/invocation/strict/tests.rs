//! Every row of the table, and everything that stands before a server.

use std::os::unix::ffi::OsStringExt;

use super::*;

const OURS: u16 = 20_123;

/// The command line as it is started, its words parted by blanks.
fn started_as(line: &str) -> String {
    let mut command: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    if let Some(addition) = addition(&command, Port::new(OURS).unwrap()) {
        let words = addition.arguments.into_iter().map(OsString::from);
        command.splice(addition.at..addition.at, words.collect::<Vec<_>>());
    }
    command.join(" ".as_ref()).into_string().unwrap()
}

/// A command line, and what is added at its end.
const ROWS: &[(&str, &str)] = &[
    ("vite", "--port 20123 --strictPort"),
    ("vite dev --open", "--port 20123 --strictPort"),
    ("vite preview", "--port 20123 --strictPort"),
    ("vite ./app -c x.ts", "--port 20123 --strictPort"),
    ("react-router dev", "--port 20123 --strictPort"),
    ("remix vite:dev", "--port 20123 --strictPort"),
    ("nuxt dev", "--port 20123"),
    ("nuxi preview", "--port 20123"),
    ("astro dev", "--port 20123"),
    ("next dev --turbo", "--port 20123"),
    ("next start", "--port 20123"),
    ("ng serve shop", "--port 20123"),
    ("expo start", "--port 20123"),
    ("storybook dev", "--port 20123 --exact-port"),
    ("webpack serve", "--port 20123"),
    ("webpack-dev-server", "--port 20123"),
    ("vue-cli-service serve", "--port 20123"),
    ("gatsby develop", "--port 20123"),
    ("docusaurus start", "--port 20123"),
    ("parcel index.html", "--port 20123"),
    ("serve -s build", "-l 20123 --no-port-switching"),
    ("http-server ./public", "--port 20123"),
    ("flask --app shop run --debug", "--port 20123"),
    ("python manage.py runserver", "20123"),
    ("./shop/manage.py runserver --noreload", "20123"),
    ("django-admin runserver", "20123"),
    ("python3 -m django runserver", "20123"),
    ("uvicorn shop:app --reload", "--port 20123"),
    ("fastapi dev main.py", "--port 20123"),
    ("python3.12 -m http.server", "20123"),
    ("python -u -m http.server --bind 127.0.0.1", "20123"),
    ("python -m http.server --bind ::1", "20123"),
    ("bin/rails server", "--port 20123"),
    ("rails s -e test", "--port 20123"),
    ("ruby bin/rails s", "--port 20123"),
    ("jekyll serve", "--port 20123"),
    ("hugo server -D", "--port 20123"),
    ("php artisan serve", "--port 20123"),
];

#[test]
fn every_server_is_told_its_port() {
    for (line, added) in ROWS {
        assert_eq!(started_as(line), format!("{line} {added}"));
    }
}

#[test]
fn every_row_of_the_table_is_tried() {
    for server in SERVERS {
        let tried = |name: &str| ROWS.iter().any(|(line, _)| line.contains(name));
        assert!(server.programs.iter().any(|name| tried(name)), "{}", server.programs[0]);
    }
}

#[test]
fn what_starts_a_server_is_looked_behind() {
    for launcher in [
        "npx",
        "npx --yes -p vite",
        "bunx --bun",
        "bun x",
        "bun run",
        "pnpm",
        "pnpm exec",
        "pnpm dlx",
        "yarn",
        "yarn run",
        "yarn exec",
        "yarn dlx -q",
        "npm exec --",
        "npm x -w shop --",
        "env",
        "env -u X A=b C=d",
        "env A=b npx",
        "cross-env A=b",
        "poetry run",
        "uv run --with x",
    ] {
        let line = format!("{launcher} vite");
        assert_eq!(started_as(&line), format!("{line} --port 20123 --strictPort"), "{launcher}");
    }
    for (line, expected) in [
        ("npm exec vite", "npm exec vite -- --port 20123 --strictPort"),
        ("npm exec vite -- --open", "npm exec vite -- --open --port 20123 --strictPort"),
        ("npx vite@5 -- x", "npx vite@5 --port 20123 --strictPort -- x"),
        ("node_modules/.bin/vite", "node_modules/.bin/vite --port 20123 --strictPort"),
        (
            "node --inspect node_modules/vite/bin/vite.js dev",
            "node --inspect node_modules/vite/bin/vite.js dev --port 20123 --strictPort",
        ),
        (".venv/bin/uvicorn a:b", ".venv/bin/uvicorn a:b --port 20123"),
        ("bundle exec jekyll serve", "bundle exec jekyll serve --port 20123"),
        ("uvx uvicorn a:b", "uvx uvicorn a:b --port 20123"),
    ] {
        assert_eq!(started_as(line), expected);
    }
}

#[test]
fn what_is_said_already_is_not_said_again() {
    for line in [
        // Another port is what its author wants.
        "vite --port 3000",
        "vite --port=3000 --open",
        "next dev -p 3000",
        "next dev -p3000",
        "hugo server -p=1313",
        "serve -l tcp://0.0.0.0:3000",
        "uvicorn a:b --uds /run/x",
        "python -m http.server 8000",
        "python manage.py runserver 0.0.0.0:8000",
        "python manage.py runserver [::1]:8000",
        // All of it.
        "vite --strictPort --port 20123",
        "next dev -p 20123",
        "serve -l 20123 --no-port-switching",
        "python -m http.server 20123",
        "python manage.py runserver 127.0.0.1:20123",
    ] {
        assert_eq!(started_as(line), line);
    }
    assert_eq!(started_as("vite --port 20123"), "vite --port 20123 --strictPort");
    assert_eq!(
        started_as("serve -l tcp://0.0.0.0:20123"),
        "serve -l tcp://0.0.0.0:20123 --no-port-switching"
    );
    assert_eq!(started_as("vite --strictPort"), "vite --strictPort --port 20123");
    assert_eq!(started_as("vite --portable"), "vite --portable --port 20123 --strictPort");
    assert_eq!(started_as("vite --"), "vite --port 20123 --strictPort --");
}

#[test]
fn nothing_is_added_to_what_is_not_known_to_serve() {
    for line in [
        "vite build",
        "next build",
        "rails generate model server",
        "python -m pytest",
        "python script.py",
        "python",
        "node server.js",
        "npm run dev",
        "npm start",
        "yarn dev",
        "pnpm run vite",
        // A script of the project's, most likely.
        "yarn serve",
        "pnpm serve",
        "npx -c vite",
        "env -S vite",
        "./vite",
        "tools/serve",
        "sh -c vite",
        "npx",
        "env",
        "--",
        "",
        "env env env env env env vite",
    ] {
        assert_eq!(started_as(line), line);
    }
    let port = Port::new(OURS).unwrap();
    assert_eq!(addition(&[], port), None);
    assert_eq!(addition(&[OsString::from_vec(vec![0xff])], port), None);
}
