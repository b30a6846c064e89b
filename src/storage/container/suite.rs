//! Files as they are, as they are not, and forged ones.

use super::*;

fn sample() -> Vec<u8> {
    ContainerWriter::to_bytes("sample", |writer| {
        writer.section("first", |out| out.write_all(b"hello"))?;
        writer.section("empty", |_| Ok(()))?;
        writer.section("last", |out| out.write_all(&[7; 5000]))
    })
    .expect("writing to memory")
}

fn read_all(bytes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
    let container = Container::from_bytes(bytes)?;
    ["first", "empty", "last"].iter().map(|name| container.read(name)).collect()
}

#[test]
fn what_was_written_comes_back() {
    let container = Container::from_bytes(sample()).expect("a whole file");
    assert_eq!(container.kind(), "sample");
    assert!(container.length("other").is_err());
    assert_eq!(container.length("last").expect("there"), 5000);
    let sections = read_all(sample()).expect("a whole file");
    assert_eq!(sections, [b"hello".to_vec(), Vec::new(), vec![7; 5000]]);
}

#[test]
fn every_flipped_byte_is_noticed() {
    let whole = sample();
    for position in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x10;
        let error = read_all(bytes).expect_err(&format!("byte {position} was flipped"));
        assert!(matches!(error, Error::Corruption { .. } | Error::FormatVersion { .. }), "{error}");
    }
}

#[test]
fn every_truncation_is_noticed_and_so_is_a_longer_file() {
    let whole = sample();
    for length in 0..whole.len() {
        let error = Container::from_bytes(whole[..length].to_vec()).err().expect("cut short");
        assert!(matches!(error, Error::Corruption { .. }), "{length}: {error}");
    }
    let mut longer = whole;
    longer.extend([0; PAGE]);
    assert!(Container::from_bytes(longer).is_err());
}

#[test]
fn tables_that_point_elsewhere_are_refused_even_with_a_valid_checksum() {
    let forge = |change: fn(&mut HeaderRecord)| {
        let mut bytes = sample();
        let mut header: HeaderRecord = *bytemuck::from_bytes(&Aligned::of(&bytes).0);
        change(&mut header);
        header.checksum = header.digest();
        bytes[..PAGE].copy_from_slice(bytemuck::bytes_of(&header));
        Container::from_bytes(bytes).err().expect("a forged table")
    };
    let forgeries: [fn(&mut HeaderRecord); 6] = [
        |header| header.table[0].offset += PAGE as u64,
        |header| header.table[2].length = u64::MAX,
        |header| header.table[2].length = u64::MAX - 5000,
        |header| header.sections = 2,
        |header| header.sections = 85,
        |header| header.table[1].offset = 0,
    ];
    for change in forgeries {
        assert!(matches!(forge(change), Error::Corruption { .. }));
    }
}

#[repr(align(8))]
struct Aligned([u8; PAGE]);

impl Aligned {
    fn of(bytes: &[u8]) -> Box<Aligned> {
        let mut page = Box::new(Aligned([0; PAGE]));
        page.0.copy_from_slice(&bytes[..PAGE]);
        page
    }
}

#[test]
fn another_version_is_named() {
    let mut bytes = sample();
    bytes[8] = 9;
    let error = Container::from_bytes(bytes).err().expect("another version");
    assert!(matches!(error, Error::FormatVersion { found: 9, supported: FORMAT, .. }), "{error}");
}
