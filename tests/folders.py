#!/usr/bin/env python3
"""Folders of pictures as people have them: tests/folders.py BLANCH [TEST...]. What a run finds is said first, recorded,
and held to. Prints TAP; makes its own pictures, of a colour for each class, so that one epoch tells them apart."""
import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile

import caches
import tap
from pictures import png as encode_png
from tap import check

BLANCH = os.path.abspath(sys.argv[1])
HOME = tempfile.mkdtemp(prefix='blanch-folders-')
ENV = caches.environment(os.path.join(HOME, 'cache'))
COLOURS = {'cat': (200, 30, 30), 'dog': (30, 200, 30), 'emu': (30, 30, 200), 'ant': (200, 200, 30)}
atexit.register(shutil.rmtree, HOME, True)


def path(*parts):
    return os.path.join(HOME, *parts)


def png(colour, i, size=16):
    """Pictures of a colour that differ."""
    return encode_png(size, size, bytes(min(255, c + (i * 7 + x * y) % 40) for y in range(size) for x in range(size)
                                          for c in colour))


def write(name, data=b'x'):
    os.makedirs(os.path.dirname(path(name)), exist_ok=True)
    with open(path(name), 'wb') as f:
        f.write(data)


def pictures(folder, count=8, first=0, colour=None, size=16):
    colour = COLOURS.get(colour or os.path.basename(folder), (90, 90, 90))
    for i in range(first, first + count):
        write('%s/%02d.png' % (folder, i), png(colour, i, size))


def classes(folder, names=('cat', 'dog'), count=8, **more):
    for name in names:
        pictures('%s/%s' % (folder, name), count, **more)


def fresh(name):
    shutil.rmtree(path(name), ignore_errors=True)
    return name


class Result:
    def __init__(self, done):
        self.status, self.out, self.err = done.returncode, done.stdout.decode(), done.stderr.decode()
        self.lines = self.err.splitlines()
        self.error = ''.join(l for l in self.lines if l.startswith('blanch: '))

    def says(self, *words):
        for word in words:
            check(word in self.err, "'%s' is not said: %s" % (word, self.err))
        return self


def blanch(status, *args):
    r = Result(subprocess.run([BLANCH, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV,
                              timeout=120))
    check(r.status == status, '%s: exit status %d, not %d: %s' % (' '.join(map(str, args)), r.status, status, r.err))
    check(bool(r.error) == bool(status), 'exit status %d, and %s' % (status, r.error or 'no error'))
    return r


def train(data, *more, status=0, out='run'):
    """One step of a new run, unless more is wanted."""
    return blanch(status, 'train', '--model', 'smallcnn', '--norm', 'bn', '--batch', 8, '--data',
                  'folder:' + path(data), '--out', path(fresh(out)), *(more or ('--steps', 1)))


def refuses(data, *words):
    r = train(data, status=2)
    check(len(r.lines) == 1, 'more than one line: %s' % r.err)
    check(not os.path.exists(path('run')), 'a refused run left a directory')
    return r.says(*words)


def resume(*more, status=0, out='run'):
    return blanch(status, 'train', '--resume', '--out', path(out), *more)


def measure(*more, status=0, out='run'):
    r = blanch(status, 'eval', '--run', path(out), '--json', *more)
    r.json = json.loads(r.out) if not status else None
    return r


def config(out='run'):
    with open(path(out, 'config.json'), encoding='utf-8') as f:
        return json.load(f)


def edit_config(change, out='run'):
    changed = config(out)
    change(changed)
    with open(path(out, 'config.json'), 'w') as f:
        json.dump(changed, f)


def log(kind, out='run'):
    with open(path(out, 'log.jsonl')) as f:
        return [l for l in map(json.loads, f) if l['type'] == kind]


def counts(out='run'):
    found = config(out)['data_found']
    return tuple(found[split]['images'] for split in ('train', 'val', 'test'))


def found(data, *expected, names=('cat', 'dog')):
    r = train(data)
    check(counts() == expected, 'images found: %s, not %s' % (counts(), expected))
    check(config()['class_names'] == list(names), 'classes: %s' % config()['class_names'])
    total = ['%d %s' % (n, word) for n, word in zip(expected, ('training', 'validation', 'test')) if n]
    for part in total + ['%d classes' % len(names)]:
        check(part in r.lines[0], "'%s' is not in the first line: %s" % (part, r.lines[0]))
    return r


# --- which folders are read -----------------------------------------------------------------------

def test_names_of_splits():
    for train_name, val, test in (('train', 'val', 'test'), ('Train', None, 'Test'), ('training', None, 'testing'),
                                  ('TRAIN', 'VALID', None), ('train', 'validation', 'Testing'),
                                  ('Training', None, None)):
        fresh('d')
        classes('d/' + train_name, count=10)
        if val:
            classes('d/' + val, count=3)
        if test:
            classes('d/' + test, count=2)
        whole = not val and not test
        found('d', 18 if whole else 20, 6 if val else 0, 4 if test else 2 if whole else 0)


def test_two_of_one_split():
    for one, other in (('train', 'Training'), ('valid', 'val'), ('test', 'Testing')):
        fresh('d')
        classes('d/train')
        classes('d/' + one, count=2)
        classes('d/' + other, count=2)
        refuses('d', "'%s'" % one, "'%s'" % other)


def test_one_level_too_high():
    fresh('d')
    classes('d/unpacked/train')
    refuses('d', 'give folder:%s;' % path('d/unpacked'))
    fresh('d')
    classes('d/a/b/Training')
    pictures('d/z')
    refuses('d', 'give folder:%s;' % path('d/a/b'))
    fresh('d')
    classes('d/unpacked')
    refuses('d', 'one class', 'unpacked', 'give folder:%s ' % path('d/unpacked'), "'cat', 'dog'", 'train/CLASS')


def test_splits_below_classes():
    fresh('d')
    for name in ('cat', 'dog'):
        pictures('d/%s/train' % name, colour=name)
        pictures('d/%s/test' % name, 2, colour=name)
    refuses('d', 'd/cat is no class', 'train/CLASS')


def test_one_class():
    fresh('d')
    pictures('d/cat')
    refuses('d', 'one class', "'cat'", 'CLASS')
    fresh('d')
    classes('d/train', ['cat'])
    classes('d/val', ['cat'])
    refuses('d', 'one class', "'cat'")


def test_no_classes():
    fresh('d')
    pictures('d')
    refuses('d', 'no class folders', 'images')
    fresh('d')
    pictures('d/train')
    pictures('d/test')
    refuses('d', 'd/train', 'no class folders')
    fresh('d')
    pictures('d/val')
    pictures('d/test')
    refuses('d', 'without class folders', 'train/CLASS')


def test_no_training_images():
    fresh('d')
    classes('d/test')
    refuses('d', 'no training images', 'train/CLASS')
    classes('d')
    refuses('d', "'cat', 'dog'", "no 'train'")


def test_classes_named_as_splits():
    fresh('d')
    classes('d', ['bus', 'train', 'valid'], 10)
    found('d', 27, 0, 3, names=['bus', 'train', 'valid']).says('d/train is taken for a class', 'd/valid')


def test_unlabelled_test_images():
    fresh('d')
    classes('d/train')
    classes('d/val', count=2)
    pictures('d/test')
    found('d', 16, 4, 0).says('d/test has no class folders and is not read')


def test_folders_beside_splits():
    fresh('d')
    classes('d/train')
    classes('d/test', count=2)
    pictures('d/extra')
    write('d/labels/cat.txt')
    r = found('d', 16, 0, 4).says("'extra' are not read")
    check('labels' not in r.err, 'a folder without images is spoken of')


def test_nested_images():
    fresh('d')
    for name in ('cat', 'dog'):
        pictures('d/train/%s/images' % name, colour=name)
    pictures('d/test/dog')
    pictures('d/test/cat/a')
    check('warning' not in found('d', 16, 0, 16).err, 'a folder in each class is nothing to warn of')
    fresh('d')
    for part in ('in', 'out'):
        for name in ('cat', 'dog'):
            pictures('d/%s/%s' % (part, name), 10)
    found('d', 36, 0, 4, names=['in', 'out']).says("'cat', 'dog'", "'in'")


def test_names_like_splits():
    for names in (('training_set', 'test_set'), ('seg_train', 'seg_test'), ('Train images', 'Test images')):
        fresh('d')
        for name in names:
            classes('d/' + name)
        refuses('d', 'looks like a split', 'train/CLASS')
    fresh('d')
    classes('d', ['trainers', 'contest'], 10)
    found('d', 18, 0, 2, names=['contest', 'trainers'])


def test_links():
    fresh('d')
    classes('d', count=10)
    os.symlink('..', path('d/cat/up'))
    os.symlink('.', path('d/cat/here'))
    os.symlink(path('d/cat'), path('d/cat/again'))
    os.symlink('nowhere.png', path('d/dog/gone.png'))
    os.symlink('self.png', path('d/dog/self.png'))
    os.symlink('00.png', path('d/dog/linked.png'))
    os.mkfifo(path('d/dog/pipe.png'))
    found('d', 18, 0, 3).says('d/cat/up is a link to a folder already read', 'broken link 2', 'no regular file 1')
    os.makedirs(path('d/cat/z'))
    os.symlink('z', path('d/cat/a'))        # read before what it points to
    pictures('d/cat/z', 10, colour='cat')
    train('d')
    check(sum(counts()) == 31, 'a folder is read twice: %s' % (counts(),))


# --- which files ------------------------------------------------------------------------------------

def test_types_not_read():
    fresh('d')
    classes('d', count=5)
    for i in range(10):
        for name in ('cat', 'dog'):
            write('d/%s/%02d.webp' % (name, i))
            write('d/%s/%02d.TIF' % (name, i))
    r = found('d', 9, 0, 1)
    check('40 files of types not read: .tif 20, .webp 20' in r.lines[0], r.lines[0])
    check(config()['data_found']['unread'] == {'.webp': 20, '.tif': 20}, str(config()['data_found']))
    for name in ('a.tar.gz', 'b.png.part', 'README', 'c.', 'd.n\x1b[2J', 'e.PNG', '.hidden.webp'):
        write('d/dog/' + name, png((30, 200, 30), 1))
    train('d')
    check(sum(counts()) == 11, 'e.PNG is not read: %s' % (counts(),))
    unread = config()['data_found']['unread']
    check(unread == {'.webp': 20, '.tif': 20, '.gz': 1, '.part': 1, 'no ending': 3}, str(unread))


def test_many_types():
    fresh('d')
    classes('d', count=5)
    for i in range(100):
        write('d/cat/x.t%02d' % i)
    r = train('d')
    check('100 files of types not read' in r.lines[0] and 'other 69' in r.lines[0], r.lines[0])


def test_images_in_no_class():
    fresh('d')
    classes('d/train', count=5)
    pictures('d/train', 3)
    found('d', 9, 0, 1).says('3 images lie in no class folder')


# --- classes ----------------------------------------------------------------------------------------

def test_classes_of_splits():
    fresh('d')
    classes('d/train', ['cat', 'dog', 'emu'])
    classes('d/test', ['cat', 'ant'])
    refuses('d', 'd/test/ant', 'no class of this name')
    shutil.rmtree(path('d/test/ant'))
    os.makedirs(path('d/test/dog'))
    found('d', 24, 0, 8, names=['cat', 'dog', 'emu']).says("no test images of 'dog', 'emu'")
    fresh('e')
    classes('e/train')
    write('e/val/cat/00.webp')
    refuses('e', 'e/val', 'no images', '.jpeg', '.pnm', '1 file of other types')
    os.makedirs(path('d/train/fox'))
    write('d/train/fox/00.webp')
    refuses('d', 'd/train/fox', 'no images', '.jpeg', '.pnm', '1 file of other types')


def test_eval_by_name():
    fresh('d')
    classes('d', ['cat', 'dog', 'emu'], 10)
    train('d', '--epochs', 4)
    before = measure('--split', 'all').json
    check(before['images'] == 30 and before['top1'] == 100, '%s' % before)
    fresh('e')
    classes('e', ['ant', 'cat', 'emu'], 10)
    evaluated = ('--data', 'folder:' + path('e'), '--split', 'all')
    r = measure(*evaluated, status=2).says("does not know the class 'ant'")
    check(len(r.lines) == 1, r.err)
    shutil.rmtree(path('e/ant'))
    r = measure(*evaluated).says("lacks the run's class 'dog': left out")
    check(r.json['images'] == 20 and r.json['top1'] == 100, '%s' % r.json)
    shutil.rmtree(path('e/cat'))
    r = measure(*evaluated).says("lacks the run's classes 'cat', 'dog'")
    check(r.json['images'] == 10 and r.json['top1'] == 100 and r.json['left_out'] == ['cat', 'dog'], '%s' % r.json)


def test_eval_of_one_split():
    fresh('d')
    classes('d', count=10)
    train('d', '--epochs', 4)
    fresh('e')
    classes('e/Test', ['dog'], 3)
    r = measure('--data', 'folder:' + path('e'))
    check((r.json['split'], r.json['images'], r.json['top1']) == ('test', 3, 100), '%s' % r.json)
    measure('--data', 'folder:' + path('e'), '--split', 'val', status=2).says('no validation images')
    classes('d', count=1)
    for name in ('cat', 'dog'):
        for i in range(1, 10):
            os.remove(path('d/%s/%02d.png' % (name, i)))
    train('d')
    measure(status=2).says('neither test nor validation images')


def test_resume_with_other_classes():
    fresh('d')
    classes('d/train', ['cat', 'dog'])
    classes('d/test', ['cat', 'dog'], 2)
    train('d')
    for split in ('train', 'test'):
        os.rename(path('d/%s/dog' % split), path('d/%s/ant' % split))
    resume('--steps', 2, status=2).says("does not know the class 'ant'")
    for split in ('train', 'test'):
        os.rename(path('d/%s/ant' % split), path('d/%s/dog' % split))
    pictures('d/train/emu')
    resume('--steps', 2, status=2).says("'emu'")
    for split in ('train', 'test'):
        for name in ('emu', 'cat'):
            shutil.rmtree(path('d/%s/%s' % (split, name)), ignore_errors=True)
    pictures('d/train/dog', 16)
    resume('--steps', 2, status=2).says('one class')
    check(config()['class_names'] == ['cat', 'dog'], 'a refused run changed its record')


def test_names_of_any_bytes():
    fresh('d')
    for name in (b'a\nb', b'\xff\xfe', b'"<&\\', 'Käfer'.encode(), b'\x1b[31m', b'=1+1'):
        folder = os.path.join(path('d').encode(), name)
        os.makedirs(folder)
        for i in range(4):
            with open(os.path.join(folder, b'%d\n\xff.png' % i), 'wb') as f:
                f.write(png((i, i, i), i))
    train('d')
    check(len(set(config()['class_names'])) == 6, str(config()['class_names']))
    r = resume('--steps', 2)
    check('\x1b' not in r.err, 'a control character is printed')
    measure('--split', 'all')


# --- splits that stay -------------------------------------------------------------------------------

def test_split_by_names():
    fresh('d')
    classes('d', ['cat', 'dog', 'emu'], 40)
    train('d')
    check(counts() == (108, 0, 12), str(counts()))
    before = measure('--split', 'all').json['splits']
    pictures('d/cat', 30, 40)
    r = measure('--split', 'all').says('training images, the run had 108')
    after = {s['split']: s['images'] for s in r.json['splits']}
    check(sum(after.values()) == 150 and after['train'] > 108 and after['test'] >= 12, '%s' % after)
    resume('--steps', 2, status=2).says('%d training images, the run had 108' % after['train'])
    for i in range(40, 70):
        os.remove(path('d/cat/%02d.png' % i))
    again = measure('--split', 'all').json['splits']
    check([(s['images'], s['loss']) for s in again] == [(s['images'], s['loss']) for s in before],
          'the split moved: %s, %s' % (before, again))
    os.rename(path('d/cat/00.png'), path('d/cat/zz.png'))
    resume('--steps', 2, status=2).says('training images, the run had 108')
    os.rename(path('d/cat/zz.png'), path('d/cat/00.png'))
    resume('--steps', 2)


def test_test_images_may_change():
    fresh('d')
    classes('d/train')
    classes('d/test', count=4)
    train('d')
    os.remove(path('d/test/cat/00.png'))
    resume('--steps', 2).says('7 test images, the run had 8')
    check(counts() == (16, 0, 7) and [l['test']['images'] for l in log('data')] == [8, 7], '%s' % log('data'))
    check('the run had' not in resume('--steps', 3).err, 'a change is told twice')


def test_who_chooses_stays():
    fresh('d')
    for split in ('train', 'val', 'test'):
        classes('d/' + split, count=4)
    train('d')
    os.rename(path('d/val'), path('kept'))
    resume('--steps', 2, status=2).says('the validation images chose', 'now the test images would', '--init')
    os.rename(path('kept'), path('d/val'))
    os.remove(path('d/val/cat/00.png'))
    resume('--steps', 2).says('7 validation images, the run had 8')


def test_run_without_record():
    """Of a version before there was one: the split is drawn as it was then, capital letters are no splits."""
    fresh('d')
    classes('d', count=20)
    train('d', '--steps', 2)
    new = measure('--split', 'test').json
    edit_config(lambda c: c.pop('data_found'))
    old = measure('--split', 'test').json
    check(old['images'] == new['images'] == 4 and old['loss'] != new['loss'], 'the old split is not kept')
    resume('--steps', 3)
    check(config()['data_found']['old_division'], str(config()['data_found']))
    check(measure('--split', 'test').json['images'] == 4 and counts() == (36, 0, 4), str(counts()))
    pictures('d/cat', 10, 20)
    edit_config(lambda c: c.pop('data_found'))
    resume('--steps', 4, status=2).says('45 training images')


def test_records_that_are_none():
    fresh('d')
    classes('d')
    train('d')
    def record(key, value):
        return lambda c: c['data_found'].update({key: value})
    for change, word in ((record('test_limit', 'zz'), 'test_limit'), (record('test_limit', 3), 'test_limit'),
                         (record('train', []), None), (record('train', {'images': -1, 'names': 'x'}), 'the run had'),
                         (lambda c: c.update(data_found='x'), 'data_found'),
                         (lambda c: c.update(class_names=['cat']), 'class_names'),
                         (lambda c: c.update(class_names=['cat', 7]), 'class_names'),
                         (lambda c: c.update(class_names=['cat', 'cat']), "'dog'")):
        kept = config()
        edit_config(change)
        r = resume('--steps', 2, status=2 if word else 0)
        check(not word or word in r.error, '%s is not in %s' % (word, r.error))
        edit_config(lambda c: (c.clear(), c.update(kept)))


# --- validation images ------------------------------------------------------------------------------

def test_validation_chooses():
    fresh('d')
    for split, count in (('train', 8), ('valid', 4), ('test', 3)):
        classes('d/' + split, count=count)
    r = train('d', '--epochs', 3).says('validation chooses best.safetensors, test waits for the end')
    keys = {'type', 'epoch', 'train_loss', 'train_top1', 'train_top5', 'val_loss', 'val_top1', 'val_top5', 'train_s',
            'val_s'}
    check(all(set(l) == keys for l in log('epoch')), '%s' % log('epoch'))
    check(config()['data_found']['best_by'] == 'val' and log('data')[0]['best_by'] == 'val', 'best_by')
    tested = log('test')
    check(len(tested) == 1 and tested[0]['weights'] == 'best' and tested[0]['step'] == 6, '%s' % tested)
    best = measure('--best').json
    check(best['split'] == 'test' and abs(best['loss'] - tested[0]['test_loss']) < 1e-6, '%s, %s' % (best, tested))
    last = measure('--split', 'val').json
    check(last['images'] == 8 and abs(last['loss'] - log('epoch')[-1]['val_loss']) < 1e-6, '%s' % last)
    every = measure('--split', 'all').json
    check([(s['split'], s['images']) for s in every['splits']] == [('train', 16), ('val', 8), ('test', 6)] and
          every['images'] == 30, '%s' % every)
    resume()
    check(len(log('test')) == 1, 'a finished run is tested once: %s' % log('test'))
    resume('--epochs', 4)
    check([l['step'] for l in log('test')] == [6, 8] and len(log('epoch')) == 4, '%s' % log('test'))
    check(r.status == 0)


def test_validation_alone():
    fresh('d')
    classes('d/train')
    classes('d/validation', count=3)
    train('d', '--epochs', 1).says('validation chooses best.safetensors')
    check('val_top1' in log('epoch')[0] and 'test_top1' not in log('epoch')[0] and not log('test'), str(log('epoch')))
    check(measure().json['split'] == 'val', 'eval does not take the validation images')
    measure('--split', 'test', status=2).says('no test images')
    r = blanch(0, 'compare', '--model', 'smallcnn', '--norms', 'bn', '--batch', 8, '--epochs', 2, '--data',
               'folder:' + path('d'), '--out', path(fresh('compared')), '--json')
    check(all('val_top1' in e and 'test_top1' not in e for run in json.loads(r.out)['runs'] for e in run['epochs']),
          r.out[:300])
    r.says('16 training and 6 validation images, 2 classes')


def test_test_images_choose():
    fresh('d')
    classes('d/train')
    classes('d/test', count=3)
    train('d', '--epochs', 1).says('the test images choose best.safetensors, as none are for validation')
    check('test_top1' in log('epoch')[0] and log('data')[0]['best_by'] == 'test' and not log('test'), str(log('data')))
    measure('--split', 'val', status=2).says('no validation images')
    measure('--split', 'nothing', status=2).says('--split', 'train, val, test or all')
    check(measure('--train').json['split'] == 'train', '--train is --split train')
    measure('--train', '--split', 'test', status=2).says('--train')


# --- damaged images ---------------------------------------------------------------------------------

def test_damaged_test_images():
    for split in ('val', 'test'):
        fresh('d')
        classes('d/train', size=65)
        classes('d/' + split, count=20, size=65)
        for i in range(4):
            whole = open(path('d/%s/cat/%02d.png' % (split, i)), 'rb').read()
            write('d/%s/cat/%02d.png' % (split, i), whole[:len(whole) // 2])
        r = train('d', '--epochs', 1).says('cat/00.png', 'cat/03.png')
        check('and 36 ' in r.lines[0] and '; 4 damaged images are left out' in r.lines[0], r.lines[0])
        epoch = log('epoch')[0]
        check(measure().json['images'] == 36, 'damaged images are measured')
        check(abs(measure().json['loss'] - epoch[split + '_loss']) < 1e-6, 'eval measures others than training did')
        write('d/%s/dog/00.png' % split)
        refuses('d', 'more than a tenth', 'd/%s/dog/00.png' % split)


def test_damaged_images_are_not_measured():
    """Read one by one while they are measured: the loss is that of the others, each counted once."""
    fresh('d')
    classes('d/train', count=20, size=65)
    pictures('d/test/cat', 1, size=65)
    train('d', '--steps', 2)
    write('d/train/cat/03.png', png(COLOURS['cat'], 3, 65)[:-20])
    damaged = measure('--split', 'train').says('cat/03.png').json
    check(damaged['images'] == 39, '%d images of 39 are measured' % damaged['images'])
    os.remove(path('d/train/cat/03.png'))
    whole = measure('--split', 'train').json
    check(abs(whole['loss'] - damaged['loss']) < 1e-6 * whole['loss'], 'the loss is %s of %s' % (damaged, whole))


def test_training_image_damaged_since():
    fresh('d')
    classes('d', count=20)
    train('d')
    write('d/cat/00.png')
    write('d/dog/00.png')
    resume('--steps', 2, status=2).says('training images, the run had 36', '/00.png')


# --- weights alone ----------------------------------------------------------------------------------

def test_normalisation_is_said():
    fresh('d')
    classes('d')
    train('d')
    weights = ('--weights', path('run/last.safetensors'), '--model', 'smallcnn', '--norm', 'bn')
    picture = path('d/cat/00.png')
    blanch(0, 'eval', *weights, '--data', 'folder:' + path('d')).says('was trained on is not known')
    for more in ((), ('--data', 'folder:' + path('d'))):    # a run's weights say it themselves
        r = blanch(0, 'predict', picture, *weights, *more)
        check('normalised' not in r.err, r.err)


if __name__ == '__main__':
    sys.exit(tap.run(tap.functions(globals(), sys.argv[2:])))
