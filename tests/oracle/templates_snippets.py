"""Snippets of templates for templates_make_fixtures.py: small pieces, each about one thing.

EXPRESSIONS are rendered as {{ <expression> }}, STATEMENTS as they are, all with CONTEXT.
"""

CONTEXT = {
    "s": "Hello, World",
    "u": "Größe: 5 µm – naïve 日本語 🎉",
    "lines": "one\ntwo\r\n\nthree\n",
    "blank": "  \t padded \n",
    "n": 7,
    "z": 0,
    "f": 2.5,
    "yes": True,
    "nothing": None,
    "empty": "",
    "xs": [3, 1, 2],
    "words": ["banana", "Apple", "cherry", "apple"],
    "mixed": [1, "two", 3.0, None, True, [1, 2], {"k": "v"}],
    "d": {"b": 1, "a": "it's", "c": [1, {"x": None}], "items": "shadowed", "Z": 0},
    "people": [
        {"name": "Ann", "age": 30, "address": {"city": "Rome"}, "ok": True},
        {"name": "bob", "age": 25, "address": {"city": "oslo"}, "ok": False},
        {"name": "Cid", "age": 30, "address": {"city": "Oslo"}},
    ],
}

EXPRESSIONS = r"""
s
n
f
yes
nothing
missing
xs
mixed
d
people[0]
[]
{}
()
(1,)
(1, 2)
1, 2
[1, [2, (3,)], {'a': "it's"}]
{'a': 1, 'a': 2, 1: 'x', 1.0: 'y', true: 'z'}
{'k"\'': 'v"', "tab": "\t\n\\"}
{none: 1, (1, 2): 3}
{[1]: 2}
'a' 'b' "c"
'\x41\u00e9\n\101\q\'"'
"multi
line"
0x1F + 0o17 + 0b101 + 1_000
1e3
1.5e-7
123456789012345678
1e16
1e15
1.0
0.1 + 0.2
1e22
-0.0
1e-5
0.0001
100000000000000000000.0
5e-324
2 ** 10
2 ** -1
2 ** 0.5
2 ** 3 ** 2
-2 ** 2
-2|abs
(-2)|abs
7 // 2
-7 // 2
7 // -2
7 % 3
-7 % 3
7 % -3
7.5 // 2
-7.5 // 2
-7.5 % 2
7 / 2
6 / 2
1 / 0
1 // 0
1 % 0
1.0 / 0
0 ** 0
0 ** -1
1 + 2 * 3 - 4 / 2
(1 + 2) * 3
1 + true
'a' + 'b'
'a' + 1
1 + 'a'
'ab' * 3
3 * 'ab'
'ab' * -1
[1] * 3
[1] + [2]
(1,) + (2,)
[1] + (2,)
none + 1
missing + 1
1 + missing
'a' ~ 1 ~ none ~ true ~ 1.5 ~ [1, 'b']
1 ~ 2
missing ~ 'x'
1 == 1.0
1 == true
'1' == 1
none == missing
missing == other
[1, 2] == [1, 2]
[1, 2] == (1, 2)
{'a': 1, 'b': 2} == {'b': 2, 'a': 1}
1 < 2 < 3
1 < 3 < 2
1 < 2 == 2
'a' < 'b'
'a' < 1
none < 1
[1, 2] < [1, 3]
[1] < [1, 0]
missing < 1
true > false
1 != 2
2 >= 2
2 <= 1
'a' in 'abc'
'' in 'abc'
1 in 'abc'
1 in xs
1.0 in xs
4 not in xs
'a' in d
'q' not in d
'a' in none
'a' in missing
missing in xs
[1, 2] in mixed
2 in range(5)
not true
not missing
not not 'x'
true and false
1 and 2
0 and 1
0 or 'x'
none or 0 or ''
1 or missing.x
0 and missing.x
not 1 == 2
true and not false or false
1 if true else 2
1 if false else 2
1 if false
(1 if false) is defined
'a' if z else 'b' if n else 'c'
[1 if false]
s.upper()
s['upper']()
s.lower()|upper
s|length
s[0]
s[-1]
s[20]
s[1:4]
s[::-1]
s[::2]
s[-3:]
s[:-3]
s[5:2]
s[8:2:-2]
s[::0]
s['x']
s.x
s.x.y
u[::-1]
u[3:9]
u[-1]
u|length
u|upper
u|lower
u|title
u|capitalize
u|tojson
u|tojson(ensure_ascii=true)
u
[u]
['\x00\x1f\x7f\x80\xa0\xad', '\u200b', '\u2028', 'é', '\U0001f600', '\ue000']
["it's", 'say "hi"', 'both \' and "']
xs[0]
xs[-1]
xs[5]
xs['a']
xs[true]
xs[1.0]
xs[1:]
xs[::-1]
xs[-2:]
xs[1:100]
xs[:none]
xs['a':]
xs.0
xs.1
people.0.name
people[0].address.city
people[0]['address']['city']
people[0].nope
people[0].nope.deeper
people[0]['nope']
d.items
d['items']
d.b
d['b']
d['nope']
d.get('b')
d.get('nope')
d.get('nope', 5)
d.get([1])
d.keys()
d.values()
d.items()
d.items()|list
d.keys()|list
d.copy() == d
d.pop('b')
d.update({})
d.pop
d.pop is defined
xs.append(1)
xs.append
xs.index(2)
xs.index(9)
xs.count(3)
xs.copy()
xs.sort()
xs.__class__
''.__class__
''.__class__.__mro__
s.__len__()
none.x
none['x']
none.x.y
none[0]
n.x
true.x
missing.x
missing['x']
missing[0]
missing()
missing[1:]
n()
s()
missing|default('d')
missing|default
missing.x|default('d')
nothing|default('d')
nothing|default('d', true)
empty|d('e')
empty|default('e', boolean=true)
missing|default(default_value='k')
missing|length
missing|upper
missing|list
missing|join(',')
missing|first
missing|last
missing|int
missing|tojson
missing|string
missing|trim
missing|map('upper')|list
missing|select|list
missing|sort
missing|sum
missing|items|list
missing|abs
missing|round
missing|reverse
missing|replace('a', 'b')
missing is defined
missing is undefined
missing is none
missing is string
missing is iterable
missing is sequence
missing is callable
missing is number
missing is mapping
missing is odd
-missing
nothing is none
nothing is not none
n is number
n is integer
f is integer
f is float
yes is number
yes is integer
yes is boolean
yes is true
n is true
z is false
s is string
s is iterable
s is sequence
s is mapping
xs is sequence
xs is mapping
xs is iterable
d is mapping
d is sequence
d.items() is sequence
d.items() is iterable
range(3) is sequence
n is iterable
n is sequence
range is callable
s.upper is callable
n is odd
n is even
4 is even
'a' is odd
n is divisibleby 7
n is divisibleby(2)
n is eq 7
n is equalto(7)
n is ne 7
n is gt 6
n is lt 6
n is ge 7
n is le 7
n is lessthan 8
n is greaterthan 8
n is in [7, 8]
n is in(xs)
n is not in [7]
'abc' is lower
'ABC' is upper
'Abc' is lower
'123' is lower
n is sameas 7
none is sameas none
'upper' is filter
'nope' is filter
'odd' is test
s|safe is escaped
s is escaped
n is defined and n is number
n is defined or missing.x
n is defined == true
n is nope
missing is nope if false else 1
n|nope
n|nope if false else 1
1 if false else n|nope
s|upper|lower|title
s|replace('l', 'L')
s|replace('l', 'L', 1)
s|replace('', '-')
s|replace('', '-', 3)
s|replace('x', 'y')
123|replace(2, 'x')
'aXbX'.replace('X', '', 1)
s|capitalize
'hELLO wORLD-foo (bar) [baz'|title
'hELLO wORLD-foo it\'s'.title()
'ß straße'|upper
'ß'|capitalize
'ǆ Ж é ς'|upper
'ÀÉÎ ЖЩ'|lower
blank|trim
'xxaxx'|trim('x')
'xyaxy'.strip('yx')
'xxaxx'.lstrip('x')
'xxaxx'.rstrip('x')
blank.strip()|length
blank.lstrip()|length
blank.rstrip()|length
'\u00a0\u2003 a \u3000'.strip()
'\u200ba'.strip()|length
'a b  c'.split()
' a b  c '.split()
' a b  c '.split(' ')
' a b  c '.split(none, 1)
' a b  c '.rsplit(none, 1)
'a,b,c'.split(',')
'a,b,c'.split(',', 1)
'a,b,c'.rsplit(',', 1)
'a,b,c'.split(',', maxsplit=1)
'a,b,c'.split(sep=',')
'a<>b'.split('<>')[-1]
'abc'.split('')
'abc'.split(1)
''.split()
''.split(',')
lines.splitlines()
lines.splitlines(true)
'a\x0bb\x85c\u2028d'.splitlines()
'a-b-c'.partition('-')
'a-b-c'.rpartition('-')
'abc'.partition('x')
'abc'.rpartition('x')
s.startswith('Hell')
s.startswith(('x', 'H'))
s.startswith('')
s.startswith('ello', 1)
s.startswith('ello', 1, 3)
s.endswith('World')
s.endswith(('x', 'ld'))
s.startswith(1)
'abc'.startswith('', 3)
'abc'.startswith('', 4)
s.find('o')
s.find('o', 5)
s.find('z')
s.rfind('o')
s.index('o')
s.index('z')
u.find('日')
u.find('')
s.count('o')
s.count('')
'aaa'.count('aa')
'abc'.find('', 4)
'abc'.count('', 4)
'abc'.count('', 3)
','.join(['a', 'b'])
','.join(xs)
','.join('abc')
','.join(d)
'abc'.isalpha()
'a1'.isalnum()
'12'.isdigit()
'12a'.isdigit()
''.isdigit()
' '.isspace()
'a'.isascii()
'é'.isascii()
'abc'.islower()
'ABC'.isupper()
'Abc Def'.istitle()
'abc'.removeprefix('ab')
'abc'.removesuffix('bc')
'abc'.removeprefix('x')
'abc'.ljust(5) ~ '|'
'abc'.rjust(5, '*')
'abc'.center(6, '*')
'abc'.center(8, '-')
'ab'.center(5, '-')
'abc'.center(2)
'42'.zfill(5)
'-42'.zfill(5)
'aBc'.swapcase()
'aBc'.casefold()
'abc'|center(9)
'{} and {}'.format(1, 'x')
'{0}{1}{0}'.format('a', 'b')
'{name}!'.format(name='x')
'{!r}'.format('x')
'{{}}'.format()
'{}'.format()
'{'.format()
'%s-%d' % ('a', 5)
'%s' % 'a'
'%s' % none
'%s' % [1, 2]
'%d' % 5.9
'%d' % 'x'
'%5d|%-5d|%05d|%+d' % (42, 42, 42, 42)
'%x %X %o %#x' % (255, 255, 8, 255)
'%.2f %5.1f %e %g' % (3.14159, 2.25, 12345.678, 0.0001)
'%r %s' % ('a', 'b')
'%(a)s %(b)d' % {'a': 1, 'b': 2}
'%%' % ()
'%s %s' % 'a'
'%s' % ('a', 'b')
'%s and %s'|format('a', 'b')
'%(x)s'|format(x=1)
'a' % 'b'
'%q' % 1
xs|sort
xs|sort(reverse=true)
words|sort
words|sort(case_sensitive=true)
words|sort(true)
people|sort(attribute='age')|map(attribute='name')|list
people|sort(attribute='age,name')|map(attribute='name')|list
people|sort(attribute='address.city')|map(attribute='name')|join(' ')
mixed|sort
xs|first
xs|last
[]|first
[]|last
''|first
s|first
s|last
d|first
d|last
range(3)|last
xs|map('string')|last
xs|length
xs|count
d|length
n|length
range(5)|length
xs|map('string')|length
xs|join
xs|join('-')
xs|join(d='-')
words|join(', ')|upper
people|join(', ', attribute='name')
mixed|join('|')
n|join
xs|list
s|list
d|list
u|list|length
n|list
xs|reverse|list
s|reverse
u|reverse
d|reverse|list
n|reverse
xs|map('string')|reverse
words|map('upper')|list
words|map('replace', 'a', 'b')|list
people|map(attribute='name')|list
people|map(attribute='address.city')|list
people|map(attribute='ok')|list
people|map(attribute='ok', default='none')|list
people|map(attribute='nope.x')|list
people|map()|list
words|map('nope')|list
words|map('nope') is defined
none|map('upper')|list
5|map('upper')|list
[]|map('nope')|list
xs|select('odd')|list
xs|select('gt', 1)|list
xs|select('>', 1)|list
xs|select('==', 1)|list
[0, 1, '', 'a', none]|select|list
[0, 1, '', 'a', none]|reject|list
xs|reject('odd')|list
xs|select('in', [1, 2])|list
xs|select('nope')|list
people|selectattr('ok')|map(attribute='name')|list
people|selectattr('age', 'equalto', 30)|map(attribute='name')|list
people|selectattr('age', '==', 30)|list|length
people|rejectattr('age', 'eq', 30)|map(attribute='name')|list
people|selectattr('ok', 'defined')|list|length
people|selectattr('address.city', 'eq', 'Oslo')|list|length
people|selectattr()|list
people|selectattr('ok') is defined
(people|selectattr('nope')) is iterable
'x' if people|selectattr('nope') else 'y'
words|unique|list
words|unique(case_sensitive=true)|list
people|unique(attribute='age')|map(attribute='name')|list
mixed|unique|list
xs|min
xs|max
[]|min
words|min
words|max(case_sensitive=true)
people|max(attribute='age')
people|min(attribute='age')
mixed|max
xs|sum
people|sum(attribute='age')
people|sum('age', 100)
[[1], [2]]|sum(start=[])
words|sum
[1.5, 2]|sum
d|dictsort
d|dictsort(true)
{'b': 2, 'a': 3}|dictsort(by='value')
{'b': 2, 'a': 3}|dictsort(reverse=true)
{'b': 2, 'a': 3}|dictsort(by='x')
xs|dictsort
d|items|list
xs|items|list
none|items|list
people|groupby('age')
people|groupby('address.city')|map('first')|list
people|groupby('ok', default='?')|list|length
people|groupby('address.city', case_sensitive=true)|map('first')|list
range(7)|batch(3)|list
range(7)|batch(3, 'x')|list
range(7)|slice(3)|list
range(7)|slice(3, 'x')|list
range(5)
range(1, 5)
range(0, 10, 3)
range(5, 0, -2)|list
range(5)|list
range(5)[1]
range(5)[1:3]
range(5)[::-1]
range(10)[-1]
range(5, 0, -2)[::2]
range(5)[3:1]
range(9)[1:8:3]
range(9)[::-2]
range(5).index(3)
s % range(3)
missing|truncate
d|truncate|length
range(3) == range(0, 3, 1)
range(0)|list
range(1, 2, 0)
range('a')
range(1.5)
range(100001)
range(1000000000)
range(true)
'42'|int
'42.9'|int
' 42 '|int
'4_2'|int
'x'|int
'x'|int(5)
'x'|int(default=-1)
'ff'|int(base=16)
'0xff'|int(base=16)
'0b11'|int(0, 2)
'0x1f'|int(0, 0)
'012'|int
'+5'|int
'-5'|int
''|int
none|int
[]|int
3.9|int
-3.9|int
true|int
'1e3'|int
'inf'|int
'nan'|int
'3.5'|float
'1e3'|float
'x'|float
'x'|float(1.5)
'inf'|float
'-inf'|float
'nan'|float
' 1_0.5 '|float
'.5'|float
'5.'|float
none|float
5|float
-5|abs
-5.5|abs
'x'|abs
2.5|round
3.5|round
-2.5|round
2.567|round(2)
2.675|round(2)
1234.5|round(-2)
1250|round(-2)
1350|round(-2)
42|round
2.4|round(0, 'ceil')
2.6|round(0, 'floor')
2.123|round(2, 'ceil')
42.55|round(1, 'floor')
2.5|round|int
2.5|round(method='x')
'x'|round
true|round
s|string
n|string
xs|string
s|string|length
[1, 'a']|string|upper
'<a href="x">\'&'|e
'<a>'|escape
'<a>'|e|e
'<a>'|forceescape
'<a>'|safe
'<a>'|safe|e
'<a>'|safe + '<b>'
'<b>' + '<a>'|safe
'<b>' ~ '<a>'|safe
['<a>'|safe]
('<a>'|safe)|upper + '<'
('<a>'|safe)|replace('a', 'b') + '<'
('x'|safe) * 2 + '<'
('<a>'|safe)[0] + '<'
lines|indent
lines|indent(2)
lines|indent(2, true)
lines|indent(2, true, true)
lines|indent('>> ')
'a'|indent(first=true)
5|indent
lines|wordcount
'foo bar baz qux'|truncate(9)
'foo bar baz qux'|truncate(9, true)
'foo bar baz qux'|truncate(11)
'foo bar baz qux'|truncate(11, false, '...', 0)
'foo'|truncate(2)
'a b c'|wordcount
u|wordcount
s|attr('upper') is callable
d|attr('b') is defined
d|tojson
d|tojson(indent=2)
d|tojson(indent=4)
d|tojson(4)
d|tojson(indent='\t')
d|tojson(indent=0)
d|tojson(separators=(',', ':'))
d|tojson(sort_keys=true)
d|tojson(indent=2, separators=(',', ' = '))
mixed|tojson
[]|tojson(indent=2)
{}|tojson(indent=2)
[[], {}]|tojson(indent=2)
(1, 2)|tojson
{1: 2, none: 3, true: 4, 1.5: 5}|tojson
{(1, 2): 3}|tojson
'a"b\\c\n\t\r\x08\x0c\x01\x7f/<>&\''|tojson
'é日🎉'|tojson
'é日🎉\x7f'|tojson(ensure_ascii=true)
1e16|tojson
'inf'|float|tojson
'nan'|float|tojson
range(3)|tojson
xs|map('string')|tojson
d.items()|tojson
d.items()|list|tojson
namespace(a=1)|tojson
s.upper|tojson
missing|tojson
[missing]
{'a': missing}
[missing]|tojson
s|tojson|safe
none|tojson
true|tojson
dict(a=1, b=[2])
dict([('a', 1), ['b', 2]])
dict({'a': 1}, b=2)
dict([1])
dict(**{'x': 1})
namespace(a=1, b='x')
namespace({'a': 1}).a
namespace(a=1).b
namespace(a=1).b is defined
namespace(_x=1)
strftime_now('%Y-%m-%d %H:%M:%S %A %d %b %Y')
strftime_now('%j %y %p %%')
strftime_now()
raise_exception('no way')
raise_exception()
range(*[1, 4])|list
range(*[1], **{})|list
s.replace(*['l', 'L'])
s|replace(*['l', 'L'])
s|replace(new='L', old='l')
s|replace(nope=1)
s|upper(1)
s.upper(1)
s|trim(chars='H')
s|default(s, s, s)
(1, 2, 3)[1]
(1, 2, 3)[1:]
[1, 2, 3][0]
{'a': {'b': 1}}.a.b
{'a': 1}['a']
'abc'[1]
(s|upper)[0]
(s).upper()
[s, n][0].lower()
s|upper ~ s|lower
-n
+n
--n
-f
-s
+s
-true
- 5 + 3
n - 5
n -5
n*-1
10 - 3 - 2
100 / 10 / 2
2 * 3 % 4
1 if 1 if 0
'%s' % ('a',) ~ 'b'
'a' < 'B'
(1 < 2) is true
1 is number is defined
xs is defined and xs|length > 2 and xs[0] == 3
not s in ['x']
s not in ['x'] and n in [7]
true == True and false == False and none == None
n == 7 and 'yes' or 'no'
[x for x in xs]
lambda x: x
n if
(1
[1, 2
{1: 2
1 +
1 ** 
a.b.
a[
a[]
a|
a is
a is not
%
{'a'}
{'a': 1,}
[1,]
(,)
f(a=1, 2)
range(1, b=2, b=3)
'unclosed
"\x4"
'\u12'
1 2
a b
1.2.3
1..2
@
a;b
a = 1
a != 
1 <> 2
a and
not
n in
123abc
0123
1__0
9223372036854775807
9223372036854775807 == 9223372036854775807.0
"""

# One a paragraph, divided by lines of dashes.
STATEMENTS = r"""
{% if n %}a{% else %}b{% endif %}
----
{% if z %}a{% elif n == 7 %}b{% elif true %}c{% else %}d{% endif %}
----
{% if missing %}a{% endif %}|
----
{% if not missing and xs %}a{% endif %}
----
{% if n > 5, 0 %}tuple{% endif %}
----
{% for x in xs %}{{ x }},{% endfor %}
----
{% for x in [] %}{{ x }}{% else %}none{% endfor %}
----
{% for x in missing %}{{ x }}{% else %}none{% endfor %}
----
{% for x in nothing %}{{ x }}{% endfor %}
----
{% for x in n %}{{ x }}{% endfor %}
----
{% for c in u %}{{ c }}.{% endfor %}
----
{% for k in d %}{{ k }} {% endfor %}
----
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
----
{% for k, v in d|items %}{{ loop.index }}{{ k }}={{ v }}{{ ", " if not loop.last }}{% endfor %}
----
{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}
----
{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}
----
{% for a, b in [1] %}{{ a }}{% endfor %}
----
{% for a, b in ['xy', [1, 2]] %}{{ a }}{{ b }}{% endfor %}
----
{% for a, in [[1], [2]] %}{{ a }}{% endfor %}
----
{% for x in xs if x > 1 %}{{ x }}:{{ loop.index }}/{{ loop.length }}{% if not loop.last %}, {% endif %}{% endfor %}
----
{% for x in xs if x > 9 %}{{ x }}{% else %}nope{% endfor %}
----
{% for x in xs|sort %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}
----
{% for x in xs %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}
----
{% for x in xs %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}
----
{% for x in xs %}{{ loop.cycle('odd', 'even') }} {% endfor %}
----
{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }} {% endfor %}
----
{% for x in xs %}{{ loop.nope }}{{ loop.nope is defined }}{% endfor %}
----
{% for x in xs %}{{ loop }} {{ loop|length }}{{ loop['index'] }}{% endfor %}
----
{% for x in xs %}{% for y in xs %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}
----
{% for x in xs %}{% set outer = loop %}{% for y in xs %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}
----
{% for x in xs %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}
----
{% for x in xs %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% else %}E{% endfor %}
----
{% for x in xs %}{% break %}{% else %}E{% endfor %}
----
{% for x in xs %}{% continue %}{% else %}E{% endfor %}
----
{% break %}
----
{% for x in xs %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}
----
{% for x in xs %}{% set y %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endset %}{{ y }}{% endfor %}
----
{% for x in xs %}{% endfor %}{{ x }}
----
{% set x = 0 %}{% for y in xs %}{% set x = x + y %}{{ x }} {% endfor %}{{ x }}
----
{% set ns = namespace(total=0) %}{% for y in xs %}{% set ns.total = ns.total + y %}{% endfor %}{{ ns.total }}
----
{% set ns = namespace(found=false) %}{% for x in xs if not ns.found %}{{ x }}{% if x == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}
----
{% set ns = namespace(found=false) %}{% for x in xs if not ns.found %}{{ x }}{{ loop.last }}{% if x == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}
----
{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a }}{{ ns.b }}
----
{% set d.x = 1 %}
----
{% set missing.x = 1 %}
----
{% set ns = namespace(a=1) %}{% set ns._b = 2 %}
----
{% set ns = namespace(a=1) %}{{ ns }}{{ ns.a }}{{ ns['a'] }}{{ ns.items is defined }}
----
{% set a, b = 1, 2 %}{{ a }}{{ b }}
----
{% set a = 1, 2 %}{{ a }}
----
{% set (a, b) = [1, 2] %}{{ b }}{{ a }}
----
{% set x %}hello {{ s }}{% endset %}[{{ x }}]
----
{% set x | upper %}hello {{ s }}{% endset %}[{{ x }}]
----
{% set x | replace('l', 'L') | length %}hello{% endset %}{{ x + 1 }}
----
{% if true %}{% set x = 1 %}{% endif %}{{ x }}
----
{% if false %}{% set s = 1 %}{% endif %}{{ s }}
----
{{ s }}{% set s = 'new' %}{{ s }}
----
{% set loop = 1 %}{{ loop }}
----
{% for x in xs %}{% set loop = 1 %}{% endfor %}
----
{% set true = 1 %}
----
{% macro m(a, b=2, c=a) %}{{ a }}/{{ b }}/{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(c=5, a=4) }} {{ m() }}
----
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
----
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}
----
{% macro m(a) %}{{ a }}|{{ varargs }}|{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}
----
{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }}
----
{% macro fact(k) %}{{ 1 if k <= 1 else k * (fact(k - 1)|int) }}{% endmacro %}{{ fact(10) }}
----
{% macro m() %}{{ s }}{{ later }}{% endmacro %}{% set later = 'L' %}{{ m() }}
----
{% macro m() %}{% set s = 'inner' %}{{ s }}{% endmacro %}{{ m() }}{{ s }}
----
{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{% for x in xs %}{{ m() }}{% endfor %}
----
{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}body {{ s }}{% endcall %}
----
{% macro m() %}{% for x in xs %}{{ caller(x, k=x + 1) }}{% endfor %}{% endmacro %}{% call(v, k=0) m() %}<{{ v }}{{ k }}>{% endcall %}
----
{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}
----
{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}
----
{% macro m(x) %}{{ x }}{% endmacro %}{{ m }}{{ m is callable }}{{ m('a') | upper ~ 'b' }}
----
{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}
----
{% macro m(a, a) %}{% endmacro %}
----
{% macro m(a=1, b) %}{% endmacro %}
----
{% macro loopy(l) %}{% for x in l %}{% if x is sequence %}({{ loopy(x) }}){% else %}{{ x }}{% endif %}{% endfor %}{% endmacro %}{{ loopy([1, [2, [3, 4]], 5]) }}
----
{% call n() %}x{% endcall %}
----
{% call n %}x{% endcall %}
----
{% filter upper %}abc {{ s }}{% endfilter %}
----
{% filter replace('a', 'b')|upper|trim %} banana {% endfilter %}|
----
{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}
----
{% set a = 5 %}{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}
----
{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}
----
{% print s %}{% print 1, 2 %}
----
{% raw %}{{ not }} {% parsed %}{% endraw %}
----
a {%- raw -%}  {{ x }}  {%- endraw -%} b
----
{% raw %}
 {{ x }}
{% endraw %}
end
----
a{# comment #}b{#- strip -#} c {# {{ x }} {% y %} #}
----
a
{# whole line #}
b
----
{% generation %}{{ s }}{% set inside = 1 %}{% endgeneration %}{{ inside }}
----
{% for x in xs %}{% generation %}{{ loop.index }}{% endgeneration %}{% endfor %}
----
  {% if true %}
    yes
  {% endif %}
end
----
  {%+ if true %}
    yes
  {%+ endif +%}
end
----
a  {%- if true -%}  b  {%- endif -%}  c
----
a {{- s -}} b {{ s -}}  c
----
a
{% set x = 1 %}
{{ x }}
b
----
x{% if true %}
y{% endif %}
z
----
x {% if true %} y {% endif %} z
----
	{% if true %}tab{% endif %}	
----
{%if true%}tight{%endif%}{{n}}
----
{{ '{{' }}{{ '%}' }}{{ "}}" }}
----
{{ {'a': {'b': 1}} }}{{ {} }}{{ {'x': '}}'}['x'] }}
----
{ { % } } {x} {
----
{{ 'a
b' }}
----
{%- for x in xs -%}
  {{ x }}
{%- endfor -%}
----
{% for x in xs -%}
  {{ x }}
{% endfor %}
----
{% for x in xs %}
  {{ x }}
{%- endfor %}

end
----
{% if n: %}colon{% endif %}
----
{% include 'x' %}
----
{% unknown %}
----
{% if true %}
----
{% endif %}
----
{% for x in xs %}{% endif %}
----
{% if true %}{% else %}{% elif %}{% endif %}
----
{{ s
----
{% if n %
----
{# unclosed
----
{% raw %}unclosed
----
{% for x xs %}{% endfor %}
----
{% set %}
----
{% set x = %}
----
{% set 1 = 2 %}
----
{% set x.y.z = 2 %}
----
{{ ) }}
----
{{ (1] }}
----
{% if missing.x %}a{% endif %}
----
{% if people[2].ok is defined and people[2].ok %}a{% else %}b{% endif %}
----
{{ raise_exception("stop: " + s) }}
----
{% if false %}{{ raise_exception("never") }}{{ n|nope }}{% endif %}fine
----
{% for x in xs %}{% if false %}{{ n|nope }}{% endif %}{% endfor %}fine
----
{% if false %}{% for x in xs %}{{ n|nope }}{% endfor %}{% endif %}fine
----
{% set g = xs|map('string') %}{{ g|join }}{{ g|join }}
----
{% set g = xs|select('odd') %}{{ g|first }}{{ g|list }}
----
{% for x in xs|map('string') %}{{ x }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }} {% endfor %}
----
{% for x in xs|select('odd') %}{{ loop.nextitem }}{{ x }}{{ loop.length }} {% endfor %}
----
{% for k, g in people|groupby('age') %}{{ k }}:{{ g|map(attribute='name')|join('+') }} {% endfor %}
----
{% for b in range(5)|batch(2) %}{{ b }}{% endfor %}
----
{% set x = d %}{% for k, v in x|dictsort %}{{ k }}{% endfor %}
----
{% for m in people[::-1] %}{{ m.name }}{% endfor %}
----
{% set messages = [{'role': 'user', 'content': 'hi'}] %}{% for message in messages %}{{ message.role ~ ': ' ~ message['content'] }}{% endfor %}
----
{{ bos_token }}{{ eos_token is defined }}{{ tools is none }}{{ documents is defined }}{{ add_generation_prompt }}
----
{{ messages }}
----
line1
line2 {{ missing.x }}
----
{% set x = [] %}{% set y = x.append(1) %}{{ x }}
----
{% set _ = d.update({'a': 1}) %}
----
{%- set a = 'x' -%} {%- set b = a ~ 'y' -%} {{ b }}
----
{% set content = '<think>\nhm\n</think>\n\nanswer' %}{{ content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') }}|{{ content.split('</think>')[-1].lstrip('\n') }}
----
{% for x in range(3) %}{{ x }}{% if not loop.last %}{{ ', ' }}{% endif %}{% endfor %}
----
{%- macro type_of(spec) -%}{%- if spec.type == 'array' -%}list[{{ type_of(spec['items']) }}]{%- else -%}{{ spec.type }}{%- endif -%}{%- endmacro -%}
{{ type_of({'type': 'array', 'items': {'type': 'array', 'items': {'type': 'str'}}}) }}
----
trailing newlines


"""
