# -*- coding: utf-8 -*-
# All that is read as data, in every protocol of the Python that runs this.
import sys, pickle, datetime, decimal, collections
P2 = sys.version_info[0] == 2
if P2:
    import cPickle as pickle
shared = {'k': [1]}
utc = datetime.datetime(2026, 11, 23, 2, 40, 5, 7)
d = collections.defaultdict(list); d['a'] = [1]
o = collections.OrderedDict([('z', 1), ('a', 2)])
value = [
    None, True, False, 0, -1, 255, 65535, -129, 2**31, -2**63, 2**64, -2**70, 1.5, -0.0, 1e22, 2.5e-06,
    u'r\xe9g \u2603 \U0001f600 "q" \\ \n', 'plain', (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [[]], {}, {'a': {'b': None}},
    {1: 'int', None: 'none', True and 2.5: 'float', False: 'false'}, shared, shared, [shared, shared],
    datetime.datetime(2026, 1, 2, 3, 4, 5, 678), utc, datetime.date(1999, 12, 31), datetime.timedelta(1, 2, 300000),
    datetime.timedelta(-1), decimal.Decimal('1.50'), decimal.Decimal('1E+3'), d, o, set([7]), frozenset([8]), set(),
    b'bytes', b'\x00\xff',
]
if not P2:
    value.append(datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc))
    value.append(datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone(datetime.timedelta(hours=-3, minutes=-30))))
    value.append(bytearray(b'array') if 0 else b'')
for p in range(pickle.HIGHEST_PROTOCOL + 1):
    open('%s/python%d_protocol%d.pickle' % (sys.argv[1], sys.version_info[0], p), 'wb').write(pickle.dumps(value, p))
