//! Names of members as MongoDB takes them.
//!
//! BSON ends a name at NUL, so NUL becomes `␀` (U+2400). A name that begins with `$` is refused by servers before 5.0,
//! and by every one in an upsert, so `_` is put before it. A dot and the empty name are stored as they are.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::record::member::Member;

/// The members of one object under names that MongoDB takes and that differ: of a repeated name the last one stays, and
/// a name that had to be changed gets `_` behind it until it is free.
pub(super) fn distinct<'a>(members: impl Iterator<Item = Member<'a>>) -> Vec<Member<'a>> {
    let mut members: Vec<Member> = members.collect();
    let last: HashMap<Cow<str>, usize> =
        members.iter().enumerate().map(|(index, member)| (member.name.clone(), index)).collect();
    let mut index = 0;
    members.retain(|member| {
        index += 1;
        last.get(&member.name) == Some(&(index - 1))
    });
    if members.iter().all(|member| is_fit(&member.name)) {
        return members;
    }
    // A name that is fit stays, whatever its neighbours' become.
    let mut taken: HashSet<String> = members
        .iter()
        .filter(|member| is_fit(&member.name))
        .map(|member| member.name.clone().into_owned())
        .collect();
    for member in members.iter_mut().filter(|member| !is_fit(&member.name)) {
        let mut name = member.name.replace('\0', "␀");
        if name.starts_with('$') {
            name.insert(0, '_');
        }
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        member.name = Cow::Owned(name);
    }
    members
}

fn is_fit(name: &str) -> bool {
    !name.starts_with('$') && !name.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&'static str]) -> Vec<String> {
        let members = names.iter().map(|name| Member { name: Cow::Borrowed(*name), value: b"1" });
        distinct(members).into_iter().map(|member| member.name.into_owned()).collect()
    }

    #[test]
    fn what_mongodb_refuses_is_changed_and_nothing_else() {
        assert_eq!(names(&["$set", "a$", "", ".", "a.b", "a\0b\0"]), ["_$set", "a$", "", ".", "a.b", "a␀b␀"]);
    }

    #[test]
    fn a_changed_name_gives_way() {
        assert_eq!(names(&["$a", "_$a", "_$a_", "\0", "␀"]), ["_$a__", "_$a", "_$a_", "␀_", "␀"]);
        assert_eq!(names(&["$\0", "$␀"]), ["_$␀", "_$␀_"]);
    }

    #[test]
    fn the_last_of_a_repeated_name_stays() {
        let object = br#"{"a":1,"b":2,"\u0061":3}"#;
        let members =
            crate::record::json::members(object).map(|(name, value)| Member { name: name.decode(), value });
        let kept: Vec<_> =
            distinct(members).into_iter().map(|member| (member.name.into_owned(), member.value)).collect();
        assert_eq!(kept, [("b".to_owned(), &b"2"[..]), ("a".to_owned(), b"3")]);
    }
}
