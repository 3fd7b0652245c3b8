//! The servers that are known. Each row was read in the documentation that it names.

/// Where the port stands in what is added.
pub(super) const PORT: &str = "{port}";

/// A server that is known.
pub(super) struct Server {
    /// What it is called; the first name is the one that people are told.
    pub(super) programs: &'static [&'static str],
    /// Whether scripts are often called like that as well.
    pub(super) is_common_word: bool,
    /// Which arguments make it serve.
    pub(super) verb: Verb,
    /// The options that say where it listens; the first argument that is a port does as well where
    /// `port` is nothing but that.
    pub(super) says: &'static [&'static str],
    /// What says the port.
    pub(super) port: &'static [&'static str],
    /// What forbids it to listen on another one; nothing where a port that is said is kept to.
    pub(super) strict: &'static [&'static str],
}

/// Which arguments make a program serve.
pub(super) enum Verb {
    /// It does nothing else.
    Any,
    /// One of these as the first argument.
    First(&'static [&'static str]),
    /// This one, wherever it stands.
    Somewhere(&'static str),
    /// None of these, wherever they stand.
    Except(&'static [&'static str]),
}

impl Server {
    /// Whether the port is an argument by itself.
    pub(super) fn port_is_bare(&self) -> bool {
        self.port == [PORT]
    }

    const fn new(programs: &'static [&'static str], verb: Verb) -> Self {
        Self {
            programs,
            is_common_word: false,
            verb,
            says: &["--port", "-p"],
            port: &["--port", PORT],
            strict: &[],
        }
    }
}

/// The servers, those of JavaScript first.
pub(super) const SERVERS: &[Server] = &[
    // https://vite.dev/guide/cli
    Server {
        says: &["--port"],
        strict: &["--strictPort"],
        ..Server::new(&["vite"], Verb::Except(&["build", "optimize"]))
    },
    // https://reactrouter.com/api/other-api/dev
    Server {
        says: &["--port"],
        strict: &["--strictPort"],
        ..Server::new(&["react-router"], Verb::First(&["dev"]))
    },
    // https://v2.remix.run/docs/other-api/dev
    Server {
        says: &["--port"],
        strict: &["--strictPort"],
        ..Server::new(&["remix"], Verb::First(&["vite:dev"]))
    },
    // https://nuxt.com/docs/api/commands/dev: only the newest versions know `--strictPort`.
    Server::new(&["nuxt", "nuxi"], Verb::First(&["dev", "preview"])),
    // https://docs.astro.build/en/reference/cli-reference: it has no option that forbids it.
    Server { says: &["--port"], ..Server::new(&["astro"], Verb::First(&["dev", "preview"])) },
    // https://nextjs.org/docs/app/api-reference/cli/next: a port that is said is kept to
    // (packages/next/src/cli/next-dev.ts, `allowRetry`).
    Server::new(&["next"], Verb::First(&["dev", "start"])),
    // https://angular.dev/cli/serve: asks, or ends where it cannot ask.
    Server { says: &["--port"], ..Server::new(&["ng"], Verb::First(&["serve", "s", "dev"])) },
    // https://docs.expo.dev/more/expo-cli: asks, or ends where it cannot ask.
    Server::new(&["expo"], Verb::First(&["start"])),
    // https://storybook.js.org/docs/api/cli-options
    Server {
        strict: &["--exact-port"],
        ..Server::new(&["storybook", "sb"], Verb::First(&["dev"]))
    },
    // https://webpack.js.org/configuration/dev-server: only without a port it looks for one.
    Server {
        says: &["--port"],
        ..Server::new(&["webpack"], Verb::First(&["serve", "server", "s"]))
    },
    Server { says: &["--port"], ..Server::new(&["webpack-dev-server"], Verb::Any) },
    // https://cli.vuejs.org/guide/cli-service.html: it has no option that forbids it.
    Server { says: &["--port"], ..Server::new(&["vue-cli-service"], Verb::First(&["serve"])) },
    // https://www.gatsbyjs.com/docs/reference/gatsby-cli: asks, or ends where it cannot ask.
    Server::new(&["gatsby"], Verb::First(&["develop", "serve"])),
    // https://docusaurus.io/docs/cli: asks, or ends where it cannot ask.
    Server::new(&["docusaurus"], Verb::First(&["start", "serve"])),
    // https://parceljs.org/features/cli
    Server::new(&["parcel"], Verb::Except(&["build", "watch"])),
    // https://github.com/vercel/serve, `serve --help`
    Server {
        is_common_word: true,
        says: &["--listen", "-l", "--port", "-p"],
        port: &["-l", PORT],
        strict: &["--no-port-switching"],
        ..Server::new(&["serve"], Verb::Any)
    },
    // https://github.com/http-party/http-server: only without a port it looks for one.
    Server::new(&["http-server"], Verb::Any),
    // https://flask.palletsprojects.com/en/stable/cli
    Server::new(&["flask"], Verb::Somewhere("run")),
    // https://docs.djangoproject.com/en/stable/ref/django-admin/#runserver
    Server {
        says: &[],
        port: &[PORT],
        ..Server::new(&["django", "django-admin", "manage.py"], Verb::First(&["runserver"]))
    },
    // https://uvicorn.dev/settings
    Server { says: &["--port", "--uds", "--fd"], ..Server::new(&["uvicorn"], Verb::Any) },
    // https://fastapi.tiangolo.com/fastapi-cli
    Server { says: &["--port"], ..Server::new(&["fastapi"], Verb::First(&["dev", "run"])) },
    // https://docs.python.org/3/library/http.server.html#command-line-interface; `-p` is the protocol.
    Server { says: &[], port: &[PORT], ..Server::new(&["http.server"], Verb::Any) },
    // https://guides.rubyonrails.org/command_line.html
    Server::new(&["rails"], Verb::First(&["server", "s"])),
    // https://jekyllrb.com/docs/configuration/options/#serve-command-options
    Server {
        says: &["--port", "-P"],
        ..Server::new(&["jekyll"], Verb::First(&["serve", "server", "s"]))
    },
    // https://gohugo.io/commands/hugo_server: only without a port it looks for one.
    Server::new(&["hugo"], Verb::First(&["server", "serve"])),
    // https://laravel.com/docs/installation: only without a port it tries the next ones
    // (Illuminate/Foundation/Console/ServeCommand.php, `canTryAnotherPort`).
    Server { says: &["--port"], ..Server::new(&["artisan"], Verb::First(&["serve"])) },
];
