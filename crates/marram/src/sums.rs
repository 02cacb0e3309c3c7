//! Checksums of files, by the names that the command line has for them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use marram_client::Checksums;
use marram_types::{Crc32c, Crc64Nvme};
use md5::Md5;
use sha2::{Digest, Sha256};

/// Bytes read at once.
const PIECE_BYTES: usize = 1 << 20;

/// A checksum that is to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    kind: Kind,
    /// As it was given; none: it is that of the file.
    value: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Crc32c,
    Crc64Nvme,
    Sha256,
    Md5,
}

impl Kind {
    const ALL: [(&'static str, Self); 4] = [
        ("crc32c", Self::Crc32c),
        ("crc64nvme", Self::Crc64Nvme),
        ("sha256", Self::Sha256),
        ("md5", Self::Md5),
    ];

    fn bytes(self) -> usize {
        match self {
            Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha256 => 32,
            Self::Md5 => 16,
        }
    }
}

impl Known {
    /// Reads `KIND` or `KIND=HEX`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let found = Kind::ALL.iter().find(|(of, _)| *of == name);
        let Some(&(name, kind)) = found else {
            return Err(format!(
                "`{name}` is no kind of checksum; write crc32c, crc64nvme, sha256 or md5"
            ));
        };
        let digits = 2 * kind.bytes();
        let read = |value: &str| {
            let refusal = || format!("a {name} is written in {digits} hexadecimal digits");
            hex(value)
                .filter(|bytes| bytes.len() == kind.bytes())
                .ok_or_else(refusal)
        };
        let value = value.map(read).transpose()?;
        Ok(Self { kind, value })
    }

    /// Whether it was given with its value.
    pub(crate) fn is_given(&self) -> bool {
        self.value.is_some()
    }

    fn tell(&self, value: &[u8], to: &mut Checksums) {
        match self.kind {
            Kind::Crc32c => to.crc32c = value.try_into().ok().map(u32::from_be_bytes),
            Kind::Crc64Nvme => to.crc64nvme = value.try_into().ok().map(u64::from_be_bytes),
            Kind::Sha256 => to.sha256 = value.try_into().ok(),
            Kind::Md5 => to.md5 = value.try_into().ok(),
        }
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
            _ => None,
        })
        .collect()
}

/// True when a kind is named twice: then it is not clear which is meant.
pub(crate) fn has_twice(wanted: &[Known]) -> bool {
    let named_before = |(at, one): (usize, &Known)| wanted[..at].iter().any(|b| b.kind == one.kind);
    wanted.iter().enumerate().any(named_before)
}

/// Those that were given with their values.
pub(crate) fn given(wanted: &[Known]) -> Checksums {
    let mut told = Checksums::default();
    for one in wanted {
        if let Some(value) = &one.value {
            one.tell(value, &mut told);
        }
    }
    told
}

/// All of them: those without a value are computed of the file. Blocks.
pub(crate) fn of_file(wanted: &[Known], path: &Path) -> io::Result<Checksums> {
    let mut told = given(wanted);
    let open: Vec<&Known> = wanted.iter().filter(|one| !one.is_given()).collect();
    if open.is_empty() {
        return Ok(told);
    }
    let wants = |kind| open.iter().any(|one| one.kind == kind);
    let mut crc32c = wants(Kind::Crc32c).then(Crc32c::default);
    let mut crc64 = wants(Kind::Crc64Nvme).then(Crc64Nvme::default);
    let mut sha256 = wants(Kind::Sha256).then(Sha256::new);
    let mut md5 = wants(Kind::Md5).then(Md5::new);
    read_through(path, |piece| {
        if let Some(sum) = &mut crc32c {
            sum.update(piece);
        }
        if let Some(sum) = &mut crc64 {
            sum.update(piece);
        }
        if let Some(sum) = &mut sha256 {
            sum.update(piece);
        }
        if let Some(sum) = &mut md5 {
            sum.update(piece);
        }
    })?;
    told.crc32c = crc32c.map(|sum| sum.value()).or(told.crc32c);
    told.crc64nvme = crc64.map(|sum| sum.value()).or(told.crc64nvme);
    told.sha256 = sha256.map(|sum| sum.finalize().into()).or(told.sha256);
    told.md5 = md5.map(|sum| sum.finalize().into()).or(told.md5);
    Ok(told)
}

/// The CRC64/NVME of a file, which every object has. Blocks.
pub(crate) fn crc64_of_file(path: &Path) -> io::Result<u64> {
    let mut sum = Crc64Nvme::default();
    read_through(path, |piece| sum.update(piece))?;
    Ok(sum.value())
}

fn read_through(path: &Path, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            read => each(&piece[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_a_file_are_those_that_everybody_computes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        std::fs::write(&path, "123456789").expect("written");
        let wanted: Vec<Known> = ["crc32c", "crc64nvme", "sha256", "md5"]
            .into_iter()
            .map(|text| Known::parse(text).expect("a kind"))
            .collect();
        let told = of_file(&wanted, &path).expect("read");
        // The check values of the catalogues, and RFC 1321 and FIPS 180 for the digests.
        assert_eq!(told.crc32c, Some(0xe306_9283));
        assert_eq!(told.crc64nvme, Some(0xae8b_1486_0a79_9888));
        let sha256 = "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225";
        assert_eq!(told.sha256.map(Vec::from), hex(sha256));
        assert_eq!(
            told.md5.map(Vec::from),
            hex("25f9e794323b453885f5181f1b624d0b")
        );
        assert_eq!(crc64_of_file(&path).ok(), told.crc64nvme);
        let known = ["crc32c=e3069283", "crc64nvme=ae8b14860a799888"];
        let known = known.map(|text| Known::parse(text).expect("with a value"));
        assert_eq!(given(&known).crc32c, told.crc32c);
        assert_eq!(given(&known).crc64nvme, told.crc64nvme);
    }

    #[test]
    fn wrong_checksums_are_named() {
        for (bad, named) in [
            ("sha1", "sha1"),
            ("", "crc32c, crc64nvme, sha256 or md5"),
            ("crc32c=123", "8 hexadecimal digits"),
            ("crc32c=e30692830", "8 hexadecimal digits"),
            ("md5=", "32 hexadecimal digits"),
            ("sha256=zz", "64 hexadecimal digits"),
        ] {
            let refusal = Known::parse(bad).expect_err(bad);
            assert!(refusal.contains(named), "{bad}: {refusal}");
        }
        let twice = ["md5", "md5=25f9e794323b453885f5181f1b624d0b"];
        let twice = twice.map(|text| Known::parse(text).expect("a kind"));
        assert!(has_twice(&twice) && !has_twice(&twice[1..]));
    }
}
