/* run_elf.c - what an ELF file's bytes say about loading a library into it
 *
 * A Go program is known by the note "Go" with type 4, which the Go linker and every external linker keep
 * in a PT_NOTE segment, or by the sections .note.go.buildid and .go.buildinfo.
 */
#include "preload/run/run_elf.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#define GO_NOTE_BUILD_ID 4

struct image {
	const unsigned char *at;
	size_t len;
};

/* Copy @size bytes at @off out of the file. */
static bool image_get(const struct image *im, uint64_t off, void *out, size_t size)
{
	if (off > im->len || size > im->len - off)
		return false;
	memcpy(out, im->at + off, size);
	return true;
}

/* A string of the file that ends inside [off, off + max). Return: NULL if there is none. */
static const char *image_string(const struct image *im, uint64_t off, uint64_t max)
{
	if (off >= im->len)
		return NULL;
	if (max > im->len - off)
		max = im->len - off;
	return memchr(im->at + off, '\0', max) ? (const char *)im->at + off : NULL;
}

static bool note_go(const struct image *im, const Elf64_Phdr *ph)
{
	uint64_t off = ph->p_offset;
	uint64_t left = ph->p_filesz;
	uint64_t align = ph->p_align == 8 ? 8 : 4;
	Elf64_Nhdr n;
	char name[4];

	while (left >= sizeof(n) && image_get(im, off, &n, sizeof(n))) {
		uint64_t name_bytes = ((uint64_t)n.n_namesz + align - 1) / align * align;
		uint64_t bytes = sizeof(n) + name_bytes +
				 ((uint64_t)n.n_descsz + align - 1) / align * align;

		if (n.n_type == GO_NOTE_BUILD_ID && n.n_namesz == 4 &&
		    image_get(im, off + sizeof(n), name, 4) && !memcmp(name, "Go\0\0", 4))
			return true;
		if (bytes > left)
			return false;
		off += bytes;
		left -= bytes;
	}
	return false;
}

static bool sections_go(const struct image *im, const Elf64_Ehdr *eh)
{
	Elf64_Shdr names, sh;

	if (eh->e_shentsize != sizeof(sh) || eh->e_shstrndx >= eh->e_shnum ||
	    !image_get(im, eh->e_shoff + (uint64_t)eh->e_shstrndx * sizeof(sh), &names,
		       sizeof(names)))
		return false;
	for (unsigned i = 0; i < eh->e_shnum; i++) {
		const char *name;

		if (!image_get(im, eh->e_shoff + (uint64_t)i * sizeof(sh), &sh, sizeof(sh)))
			return false;
		if (sh.sh_name >= names.sh_size || names.sh_offset > im->len)
			continue;
		name = image_string(im, names.sh_offset + sh.sh_name, names.sh_size - sh.sh_name);
		if (name && (!strcmp(name, ".note.go.buildid") || !strcmp(name, ".go.buildinfo")))
			return true;
	}
	return false;
}

static bool dynamic_soname(const struct image *im, const Elf64_Phdr *ph)
{
	Elf64_Dyn d;

	for (uint64_t at = 0; at + sizeof(d) <= ph->p_filesz; at += sizeof(d)) {
		if (!image_get(im, ph->p_offset + at, &d, sizeof(d)) || d.d_tag == DT_NULL)
			return false;
		if (d.d_tag == DT_SONAME)
			return true;
	}
	return false;
}

static int segments_read(struct run_elf *e, const struct image *im, const Elf64_Ehdr *eh)
{
	bool soname = false;

	if (eh->e_phnum && eh->e_phentsize != sizeof(Elf64_Phdr))
		return -ENOEXEC;
	for (unsigned i = 0; i < eh->e_phnum; i++) {
		Elf64_Phdr ph;

		if (!image_get(im, eh->e_phoff + (uint64_t)i * sizeof(ph), &ph, sizeof(ph)))
			return -ENOEXEC;
		if (ph.p_type == PT_INTERP) {
			e->interp = image_string(im, ph.p_offset, ph.p_filesz);
			if (!e->interp)
				return -ENOEXEC;
		} else if (ph.p_type == PT_NOTE) {
			e->go |= note_go(im, &ph);
		} else if (ph.p_type == PT_DYNAMIC) {
			soname = dynamic_soname(im, &ph);
		}
	}
	e->loader = !*e->interp && soname && eh->e_type == ET_DYN;
	return 0;
}

int run_elf_read(struct run_elf *e, const void *bytes, size_t len)
{
	const struct image im = { bytes, len };
	unsigned char ident[20];
	Elf64_Ehdr eh;
	int rc;

	if (!image_get(&im, 0, ident, sizeof(ident)) || memcmp(ident, ELFMAG, SELFMAG))
		return -ENOEXEC;
	*e = (struct run_elf){ .interp = "" };
	e->class64 = ident[EI_CLASS] == ELFCLASS64;
	e->little = ident[EI_DATA] == ELFDATA2LSB;
	e->machine = (uint16_t)(e->little ? ident[18] | ident[19] << 8
					  : ident[18] << 8 | ident[19]);
	if (!e->class64 || !e->little)
		return 0;
	if (!image_get(&im, 0, &eh, sizeof(eh)))
		return -ENOEXEC;
	rc = segments_read(e, &im, &eh);
	if (!rc)
		e->go |= sections_go(&im, &eh);
	return rc;
}

const char *run_elf_machine_name(uint16_t machine, bool class64)
{
	switch (machine) {
	case EM_386: return "i386";
	case EM_X86_64: return class64 ? "x86-64" : "x32";
	case EM_ARM: return "32-bit ARM";
	case EM_AARCH64: return "arm64";
	case EM_RISCV: return "RISC-V";
	case EM_PPC64: return "ppc64";
	case EM_S390: return "s390";
	case EM_MIPS: return "MIPS";
	case EM_LOONGARCH: return "LoongArch";
	default: return NULL;
	}
}
