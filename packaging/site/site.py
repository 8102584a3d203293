"""What mkdocs is told beside the files of docs/: README as the first page, files elsewhere that a document links to
(under source/), and references made of the public headers and of the Python package's docstrings."""
import os
import posixpath
import re

from mkdocs.structure.files import File

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
LINK = re.compile(r'\]\(([^)#:]+)(#[^)]*)?\)')
ALWAYS = ('CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'tests/reference/README.md')


def read(path):
    with open(os.path.join(ROOT, path), encoding='utf-8') as f:
        return f.read()


def outside(document):
    """Files of the project outside docs/ that a document, by its path in the project, links to."""
    folder = posixpath.dirname(document)
    for link in LINK.finditer(read(document)):
        path = posixpath.normpath(posixpath.join(folder, link[1]))
        if not path.startswith('docs/') and os.path.isfile(os.path.join(ROOT, path)):
            yield path


def reference(header):
    """A header as a page: a chapter for each of its own, a part for each declaration, under the names it declares."""
    name = posixpath.basename(header)
    lines = ['# %s\n' % name]
    for block in re.split(r'\n\s*\n', read(header)):
        chapter = re.match(r'/\* --- (.*?) -+ \*/\s*\n?', block)
        if chapter:
            lines.append('## %s\n' % chapter[1])
            block = block[chapter.end():]
        names = re.findall(r'^(?:const )?(?:struct|enum|typedef|[a-z][\w ]*?)[ *]+(blanch_\w+)[ ({;]', block, re.M)
        if names:
            lines.append('### %s\n' % ', '.join(dict.fromkeys(n.replace('_', r'\_') for n in names)))
        if block.strip():
            lines.append('```c\n%s\n```\n' % block.strip('\n'))
    return '\n'.join(lines)


def on_files(files, config):
    def add(uri, content):
        files.append(File.generated(config, uri, content=content))
    documents = ['README.md', *('docs/' + f.src_uri for f in files.documentation_pages()), *ALWAYS]
    elsewhere = {path for document in documents for path in outside(document)} | set(ALWAYS)
    add('index.md', read('README.md'))
    for path in sorted(elsewhere - {'README.md'}):
        if path.endswith('.md'):
            add('source/' + path, read(path))
        else:
            files.append(File.generated(config, 'source/' + path, abs_src_path=os.path.join(ROOT, path)))
    for header in ('include/blanch/blanch.h', 'include/blanch/definition.h'):
        add('reference/%s.md' % posixpath.basename(header), reference(header))
    add('reference/python.md', '# The Python package\n\n::: blanch\n\n::: blanch.nn\n')
    return files


def on_page_markdown(markdown, page, config, files):
    """Links as they are in the project, turned to where the site has the files."""
    uri = page.file.src_uri
    here = 'README.md' if uri == 'index.md' else uri[7:] if uri.startswith('source/') else 'docs/' + uri

    def turn(link):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(here), link[1]))
        there = path[5:] if path.startswith('docs/') else 'index.md' if path == 'README.md' else 'source/' + path
        if files.get_file_from_path(there) is None:
            return link[0]
        return '](%s%s)' % (posixpath.relpath(there, posixpath.dirname(uri) or '.'), link[2] or '')
    return LINK.sub(turn, markdown)
