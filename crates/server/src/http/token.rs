//! A secret that whoever asks from elsewhere has to know.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use subtle::ConstantTimeEq;

/// The token. It is never shown: not in logs, not in messages.
#[derive(Clone)]
pub struct Token(String);

/// How long a token must be at least, in characters.
const SHORTEST: usize = 16;

/// How much of a file is read.
const LONGEST: u64 = 4096;

impl Token {
    /// The token in a file, which only its owner may read. A file that is not there is made, with a
    /// token of 256 random bits.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or written, others may read it, or what is in it is too short.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        // Opening a pipe would wait for somebody to write into it.
        match fs::metadata(path) {
            Ok(found) if found.is_file() => Self::read(File::open(path)?),
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(path),
            Err(error) => Err(error),
        }
    }

    fn read(file: File) -> io::Result<Self> {
        let wrong = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        let metadata = file.metadata()?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return wrong("others may read it: `chmod 600` it");
        }
        let mut text = String::new();
        file.take(LONGEST + 1).read_to_string(&mut text)?;
        if text.len() as u64 > LONGEST {
            return wrong("it is longer than 4096 bytes");
        }
        let text = text.trim();
        if text.len() < SHORTEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong("a token has 16 or more visible ASCII characters, and no spaces");
        }
        Ok(Self(text.to_owned()))
    }

    fn make(path: &Path) -> io::Result<Self> {
        use fmt::Write as _;
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let mut text = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        Ok(Self(text))
    }

    /// Whether `given` is the token, in a time that tells nothing of how much of it is right.
    pub(super) fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
