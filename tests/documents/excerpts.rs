//! What documents quote of other files is in them.

use std::fs;

use super::markdown::{blocks_of, documents, read, root};

#[test]
fn every_excerpt_is_in_its_file() {
    let mut excerpts = 0;
    for block in documents().iter().flat_map(|document| blocks_of(document)) {
        let Some(file) = block.info.strip_prefix("text ") else { continue };
        assert!(read(file).contains(&block.text), "{}is not in {file}", block.name());
        excerpts += 1;
    }
    assert!(excerpts > 0);
}

#[test]
fn every_recipe_is_listed() {
    for entry in fs::read_dir(root().join("examples/recipes")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "README.md" {
            let link = format!("](../examples/recipes/{name}/README.md)");
            assert!(read("docs/recipes.md").contains(&link), "{name}");
            assert!(read("examples/recipes/README.md").contains(&format!("]({name})")), "{name}");
        }
    }
}
