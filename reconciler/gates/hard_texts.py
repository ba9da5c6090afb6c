"""Texts on which tokenizers differ: spaces, numbers, code, other scripts, forms of a letter, signs, marks of tokens."""
# ruff: noqa: RUF001

from reconciler.domain import digest

_SPACES = (
    " ¦  ¦   ¦\n¦\n\n¦\t¦\r\n¦ a¦a ¦ a ¦  a¦a  ¦a b¦a  b¦a   b¦a    b¦a\nb¦a\n\nb¦a \nb¦a\n b¦a \n b¦\na¦a\n¦a\tb¦"
    "\t\ta¦a\r\nb¦a\rb¦ \n ¦two  words¦a\u00a0b¦a\u2003b¦a\u3000b¦a\u200bb¦\ufeffa¦a\u2028b¦trailing   "
    "¦   leading¦a             b"
)
_NUMBERS = (
    "0¦12¦123¦1234¦12345678¦ 1¦ 12¦ 2024¦a 1¦a1¦1a¦1 2 3¦3.14¦1,000,000¦-5¦+49 170 12¦1/2¦10%¦$9.99¦2024-11-29"
    "¦12:30¦0x1F¦1e-9¦v2.0.1¦x²³¦½ Ⅷ ٣"
)
_WORDS = (
    "Hello¦hello world¦HELLO World¦Hello, world!¦it's¦I'M you'Re we'LL¦don’t¦A.B-C_d¦e-mail¦!¦!!!¦?!¦...¦ -¦--¦ --- "
    "¦(a)¦[a]¦#tag @me¦“quoted”¦a—b¦_¦__¦___ a¦http://x.y/z?a=1&b=2¦C:\\a\\b¦a=b;¦The quick brown fox jumps over the"
    " lazy dog.¦aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa¦abababababababababababababababababab¦  # two  comments"
)
_CODE = (
    'def f(x):\n    return x  # same\n¦if (a && b) {\n\treturn "x";\n}\n¦{"a": [1, 2], "b": null}¦<a href=\'x\'>y</a>'
    "¦for i in range(10):\n        print(i)\n\n\n¦SELECT * FROM t WHERE x >= 1;¦# Title\n\n- one\n- two\n¦a->b::c |= ~d"
)
_FORMS = "café¦cafe\u0301¦\u212b Å¦e\u0301e¦I\u0307¦İı¦ß ſ ẞ¦ﬁ¦Ａ１¦한글¦\u1112\u1161\u11ab¦Straße ÄÖÜ"
_SCRIPTS = (
    "東京は日本の首都です。¦你好，世界¦Привет, мир!¦Γειά σου Κόσμε¦مرحبا بالعالم¦שלום עולם¦नमस्ते दुनिया¦สวัสดีชาวโลก"
    "¦안녕 하세요¦Xin chào thế giới¦გამარჯობა¦¿Dónde está?¦العدد ١٢٣¦東京 2024年¦a東b"
)
_SIGNS = "😀¦a😀b¦👩‍👩‍👧¦👍🏽¦🇫🇷¦❤️¦∑∫√¦→ ←¦𝔘𝔫𝔦¦\U0010fffd¦▁¦▁▁▁¦a▁b¦Ġ¦Ċa¦\ufffd"
_MARKS = "<unk>¦<s>a</s>¦<0x41>¦<|a|>¦<<a>>¦[INST] a [/INST]¦</w>¦<|im_start|>user\na<|im_end|>\n"

TEXTS = tuple("¦".join((_SPACES, _NUMBERS, _WORDS, _CODE, _FORMS, _SCRIPTS, _SIGNS, _MARKS)).split("¦"))
# Around each of the model's own tokens.
AROUND = ("{0}", "a{0}b", "a {0} b", "{0}a{0}", "{0}\n{0}", " {0}", "{0} 1", "a{0}", "{0}  b", "<{0}>d")
TEXTS_DIGEST = digest.of_value((TEXTS, AROUND))
