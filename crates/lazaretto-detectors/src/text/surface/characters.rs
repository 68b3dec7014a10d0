//! Characters that a reader does not see: what they are, and whether they stand where languages
//! and emoji need them.

use unicode_script::{Script, UnicodeScript};

/// What a conspicuous character does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hidden {
    /// Takes no space and joins or separates nothing that a reader sees.
    Invisible,
    /// A soft hyphen: invisible unless a line breaks there.
    SoftHyphen,
    /// Reverses the display order of the letters that follow.
    BidiOverride,
    /// Another control of the display order.
    BidiControl,
    /// A deprecated tag character, which spells ASCII that is not displayed.
    Tag,
    /// Selects a variant of the character before it.
    VariationSelector,
}

/// The class of `character`, if it is one of interest.
pub(super) fn classify(character: char) -> Option<Hidden> {
    Some(match character {
        '\u{00ad}' => Hidden::SoftHyphen,
        '\u{034f}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200d}'
        | '\u{2060}'..='\u{2064}'
        | '\u{206a}'..='\u{206f}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' => Hidden::Invisible,
        '\u{202d}' | '\u{202e}' => Hidden::BidiOverride,
        '\u{061c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202c}'
        | '\u{2066}'..='\u{2069}' => Hidden::BidiControl,
        '\u{e0000}'..='\u{e007f}' => Hidden::Tag,
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => Hidden::VariationSelector,
        _ => return None,
    })
}

/// Whether `character` is a letter of a script whose words never need an invisible character:
/// the alphabets written with separate letters.
pub(super) fn is_plain_letter(character: char) -> bool {
    character.is_ascii_alphabetic()
        || (character.is_alphabetic()
            && matches!(
                character.script(),
                Script::Latin | Script::Greek | Script::Cyrillic | Script::Armenian
            ))
}

/// Whether joiners next to `character` can be natural: a letter or mark of a script that shapes
/// its letters (Arabic, Indic, Mongolian, …), an emoji, or another sign that is no plain letter.
pub(super) fn takes_joiners(character: char) -> bool {
    if character.is_ascii() {
        return false;
    }
    match character.script() {
        Script::Latin | Script::Greek | Script::Cyrillic | Script::Armenian => false,
        // Pictographs and arrows, not punctuation such as dashes and quotation marks.
        Script::Common => matches!(
            u32::from(character),
            0xa9 | 0xae | 0x2190..=0x2bff | 0x3030 | 0x303d | 0x1f000..=0x1faff
        ),
        Script::Inherited => {
            matches!(
                u32::from(character),
                0x20e3 | 0xfe0e | 0xfe0f | 0x0300..=0x036f
            ) || matches!(u32::from(character), 0x064b..=0x0655 | 0x0951..=0x0954 | 0x1cd0..=0x1cff)
        }
        _ => true,
    }
}

/// Whether `character` is written from right to left.
pub(super) fn is_right_to_left(character: char) -> bool {
    matches!(
        u32::from(character),
        0x0590..=0x08ff | 0xfb1d..=0xfdff | 0xfe70..=0xfefc | 0x1_0800..=0x1_0fff | 0x1_e800..=0x1_efff
    )
}

/// The ASCII text that tag characters spell, controls left out.
pub(super) fn spelled_by_tags(text: &str) -> String {
    text.chars()
        .filter_map(|character| {
            let code = u32::from(character).checked_sub(0xe_0000)?;
            char::from_u32(code).filter(|plain| (' '..='~').contains(plain))
        })
        .collect()
}

/// The bytes that a run of variation selectors carries (selector 1 is 0, selector 256 is 255),
/// as text where they are text.
pub(super) fn carried_by_selectors(text: &str) -> String {
    let bytes: Vec<u8> = text
        .chars()
        .filter_map(|character| match u32::from(character) {
            code @ 0xfe00..=0xfe0f => u8::try_from(code - 0xfe00).ok(),
            code @ 0xe_0100..=0xe_01ef => u8::try_from(code - 0xe_0100 + 16).ok(),
            _ => None,
        })
        .collect();
    String::from_utf8_lossy(&bytes)
        .chars()
        .map(|character| {
            if character.is_control() {
                '\u{b7}'
            } else {
                character
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_selectors_are_decoded() {
        let tags: String = "do it"
            .bytes()
            .filter_map(|byte| char::from_u32(0xe_0000 + u32::from(byte)))
            .collect();
        assert_eq!(spelled_by_tags(&format!("a{tags}b")), "do it");
        let selectors: String = "hi"
            .bytes()
            .filter_map(|byte| char::from_u32(0xe_0100 + u32::from(byte) - 16))
            .collect();
        assert_eq!(carried_by_selectors(&selectors), "hi");
    }

    #[test]
    fn joiners_belong_to_shaping_scripts_and_emoji() {
        for natural in ['ی', 'क', 'സ', '👩', '♂', '\u{fe0f}'] {
            assert!(takes_joiners(natural), "{natural:?}");
        }
        for plain in ['a', 'é', 'ж', 'λ', '1', '—', ' '] {
            assert!(!takes_joiners(plain), "{plain:?}");
        }
    }
}
